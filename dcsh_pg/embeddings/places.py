"""Where and when the rows of a table are: its geometry and time columns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry import Polygon

from dcsh_pg.embeddings import rings
from dcsh_pg.embeddings.making import Columns
from dcsh_pg.errors import InputError
from dcsh_pg.imagery.metadata import dates

GEOMETRIES = ("geometry", "geom", "wkb_geometry", "wkt")
TIMES = ("datetime", "timestamp", "acquired", "date", "start_datetime", "time")
LONLAT = (("lon", "lat"), ("longitude", "latitude"), ("centre_lon", "centre_lat"), ("x", "y"))


class Places:
    """The geometry and time columns of a table with a pyarrow schema.

    Attributes:
        names: the columns that must be read.

    Raises:
        InputError: there is no geometry column, or a column that is named does not exist.
    """

    def __init__(self, schema: Any, columns: Columns, uri: str):
        import pyarrow

        self._uri, self._side = uri, columns.footprint
        named = {name.lower(): name for name in reversed(schema.names)}
        for option, name in (("geometry", columns.geometry), ("acquired-column", columns.acquired)):
            if name is not None and name not in schema.names:
                raise InputError(
                    f"{uri} has no column {name!r}",
                    hint=f"give --{option} one of {', '.join(schema.names[:20])}",
                )
        about = _geo(schema, uri)
        geometry = columns.geometry or about.get("primary_column")
        geometry = geometry if geometry in schema.names else _first(named, GEOMETRIES)
        pair = next(((named[x], named[y]) for x, y in LONLAT if {x, y} <= named.keys()), None)
        self._geometry, self._pair = geometry, None if geometry else pair
        if not (self._geometry or self._pair):
            raise InputError(
                f"{uri} has no geometry: its columns are {', '.join(schema.names[:20])}",
                hint="name the column with --geometry, or add columns lon and lat",
            )
        self._wkt = None
        if geometry:
            about = about.get("columns", {}).get(geometry, {})
            if about.get("encoding", "WKB") != "WKB":
                raise InputError(
                    f"{uri}: the column {geometry} is not WKB but {about['encoding']!r}",
                    hint="write it again with geopandas.to_parquet(..., geometry_encoding='WKB')",
                )
            self._wkt = _crs(about, uri)
            self._is_text = not (
                pyarrow.types.is_binary(schema.field(geometry).type)
                or pyarrow.types.is_large_binary(schema.field(geometry).type)
            )
        self.time = columns.acquired or _first(named, TIMES)
        self.names = [n for n in (geometry, *(self._pair or ()), self.time) if n]

    def footprints(self, batch: Any, first: int) -> np.ndarray | list[Polygon]:
        """The footprints of a pyarrow batch whose first row has the number ``first``.

        Raises:
            InputError: a row has none, or an unusable one.
        """
        if self._pair:
            found = [self._present(batch, name, first) for name in self._pair]
            points = np.stack([_numbers(column) for column in found], axis=1)
            return self._around(points, first)
        column = self._present(batch, str(self._geometry), first)
        if self._is_text:
            return self._mixed(self._wkb(column, first), first)
        points_or_rings = rings.coordinates(column)
        if points_or_rings is None:
            return self._mixed(column, first)
        if points_or_rings.ndim == 2:
            return self._around(points_or_rings, first)
        return rings.footprints(points_or_rings, self._wkt, first, self._uri)

    def acquired(self, batch: Any, first: int) -> np.ndarray | None:
        """The times of a batch, datetime64[us] (N,), UTC, or None without a time column.

        Raises:
            InputError: one cannot be read.
        """
        import pyarrow

        if self.time is None:
            return None
        column = batch.column(self.time)
        if pyarrow.types.is_timestamp(column.type) or pyarrow.types.is_date(column.type):
            found: np.ndarray = column.cast(pyarrow.timestamp("us"), safe=False).to_numpy(
                zero_copy_only=False
            )
            return found
        texts = column.cast(pyarrow.string()).dictionary_encode()
        times = np.array(
            [self._time(text, first) for text in texts.dictionary.to_pylist()] + [None],
            "datetime64[us]",
        )
        rows: np.ndarray = texts.indices.fill_null(len(times) - 1).to_numpy(zero_copy_only=False)
        found = times[rows]
        return found

    def _time(self, text: str, first: int) -> np.datetime64 | None:
        time = dates.parse_date(text)
        if time is None and text.strip():
            raise InputError(
                f"{self._uri}: the column {self.time} has {text[:40]!r} after row {first}, "
                "which is not a date",
                hint="write 2021-07-14 or 2021-07-14T10:30:00Z, or name another --acquired-column",
            )
        return None if time is None else np.datetime64(time.replace(tzinfo=None), "us")

    def _present(self, batch: Any, name: str, first: int) -> Any:
        column = batch.column(name)
        if column.null_count:
            row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise InputError(
                f"{self._uri}: row {first + row} has no {name}",
                hint="remove the row; rows are counted from 0",
            )
        return column

    def _around(self, points: np.ndarray, first: int) -> np.ndarray | list[Polygon]:
        if self._side is None:
            raise InputError(
                f"{self._uri} has points, which have no footprint",
                hint="give the side of the square that an embedding is of: --footprint METRES",
            )
        degrees = rings.to_degrees(points, self._wkt, self._uri)
        if not (np.isfinite(degrees).all() and (np.abs(degrees) <= (180, 90)).all()):
            bad = ~(np.isfinite(degrees) & (np.abs(degrees) <= (180, 90))).all(axis=1)
            row = first + int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{self._uri}: the point of row {row} lies outside of longitude and latitude",
                hint="fix the row; rows are counted from 0",
            )
        return rings.footprints(rings.squares(degrees, self._side), None, first, self._uri)

    def _mixed(self, wkb: Any, first: int) -> list[Polygon]:
        """Geometries of several kinds, one by one."""
        found: list[Polygon] = []
        for row, geometry in enumerate(rings.polygons(wkb, first, self._uri)):
            points = shapely.get_coordinates(geometry)
            if geometry.geom_type == "Point":
                [one] = self._around(points, first + row)
                found.append(Polygon(one))
            else:
                [one] = rings.footprints(points[None], self._wkt, first + row, self._uri)
                found.append(one if isinstance(one, Polygon) else Polygon(one))
        return found

    def _wkb(self, texts: Any, first: int) -> Any:
        """WKT -> WKB."""
        import pyarrow

        found = shapely.from_wkt(np.array(texts.to_pylist(), object), on_invalid="ignore")
        if shapely.is_missing(found).any():
            row = first + int(np.flatnonzero(shapely.is_missing(found))[0])
            raise InputError(
                f"{self._uri}: the geometry of row {row} is not WKT",
                hint="write it as POLYGON ((west south, east south, ...))",
            )
        return pyarrow.array(shapely.to_wkb(found), pyarrow.binary())


def _numbers(column: Any) -> np.ndarray:
    import pyarrow

    try:
        found: np.ndarray = column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
    except pyarrow.ArrowInvalid:
        return np.full(len(column), np.nan)
    return found


def _first(named: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((named[name] for name in names if name in named), None)


def _geo(schema: Any, uri: str) -> dict[str, Any]:
    """GeoParquet's metadata, or nothing."""
    try:
        about = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
        columns = about.get("columns", {})
        if not all(isinstance(column, dict) for column in columns.values()):
            raise TypeError
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise InputError(
            f"{uri} has GeoParquet metadata that cannot be read", hint="write the file again"
        ) from None
    found: dict[str, Any] = about
    return found


def _crs(about: dict[str, Any], uri: str) -> str | None:
    """The CRS of a geometry column as WKT; None for longitude and latitude, the default."""
    try:
        crs = CRS.from_json_dict(about["crs"]) if "crs" in about else None
    except (CRSError, TypeError, ValueError):
        raise InputError(
            f"{uri} has an unknown coordinate reference system",
            hint="write the file with a CRS, for example with geopandas.GeoDataFrame.set_crs",
        ) from None
    if crs is None or crs.to_authority() in (("OGC", "CRS84"), ("EPSG", "4326")):
        return None
    return crs.to_wkt()

"""A sidecar: one CSV or GeoJSON file with footprints, dates and properties of pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import shapely
from shapely.errors import ShapelyError
from shapely.geometry import Polygon, box, shape
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from dcsh_pg import strict_json, strict_wkt
from dcsh_pg.errors import InputError
from dcsh_pg.imagery.metadata import dates
from dcsh_pg.imagery.metadata.image import ImageMetadata

MAX_BYTES = 512 << 20
MAX_RESOLUTION = 100_000.0
"""Metres per pixel."""

_FILE_COLUMNS = ("file", "filename", "path")
_DATE_COLUMNS = ("date", "datetime", "acquired")
_PLACE_COLUMNS = ("wkt", "bbox", "lon", "lat", "resolution")


class Sidecar:
    """Metadata by file name.

    An invalid row becomes an error of its file; the other rows count.

    Args:
        path: a CSV file whose columns are ``file``, one of ``wkt``, ``bbox`` (minx,miny,maxx,maxy)
            or ``lon``, ``lat`` and ``resolution`` (centre, metres per pixel), ``date`` and any
            others; or a GeoJSON FeatureCollection with the property ``file``.

    Attributes:
        nameless: errors of rows without a file name, each with the row's address.

    Raises:
        InputError: the file as a whole cannot be read.
    """

    def __init__(self, path: Path):
        self.path = path
        text = _read(path)
        rows = _geojson_rows(text, path) if text.lstrip().startswith("{") else _csv_rows(text, path)
        self._records: dict[str, ImageMetadata | InputError] = {}
        self.nameless: list[tuple[str, InputError]] = []
        for where, row, geometry in rows:
            name = _name(row)
            record = _record_or_error(where, row, geometry)
            if name is None:
                self.nameless.append((where, InputError(f"{where}: no file name")))
            elif name in self._records:
                self._records[name] = InputError(f"{where}: duplicate entry for {name}")
            else:
                self._records[name] = record

    def find(self, name: str) -> ImageMetadata | InputError | None:
        """The metadata of a file, by its name below the source folder, else by its bare name."""
        return self._records.get(name, self._records.get(name.rpartition("/")[2]))

    def names(self) -> list[str]:
        """The file names that have metadata."""
        return list(self._records)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(
            f"no such sidecar: {path}", hint="check the spelling of --sidecar"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"sidecar {path} cannot be read: {error}",
            hint="give a CSV or GeoJSON file in UTF-8",
        ) from None
    if len(content) > MAX_BYTES:
        raise InputError(f"sidecar {path} has more than {MAX_BYTES >> 20} MiB", hint="divide it")
    return text


_Row = tuple[str, Mapping[str, Any], Any]
"""A row's address, its fields, and its GeoJSON geometry, or an error instead."""


def _csv_rows(text: str, path: Path) -> list[_Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    columns = [column.strip() for column in reader.fieldnames or []]
    if not set(map(str.lower, columns)) & set(_FILE_COLUMNS):
        raise InputError(
            f"sidecar {path} has no column 'file'",
            hint="its first line must name the columns, for example: file,wkt,date",
        )
    reader.fieldnames = columns
    rows: list[_Row] = []
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            fault = None
            if None in row or None in row.values():
                fault = InputError(
                    f"{where}: {'more' if None in row else 'fewer'} values than columns",
                    hint='quote a value that contains commas: "10.1,50.2,10.3,50.4"',
                )
                row = {key: value for key, value in row.items() if key and value}
            rows.append((where, row, fault))
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: {error}", hint="is a double quote missing?"
        ) from None
    return rows


def _geojson_rows(text: str, path: Path) -> list[_Row]:
    try:
        features = strict_json.loads(text)["features"]
        if not isinstance(features, list):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise InputError(f"sidecar {path} is not a GeoJSON FeatureCollection") from None
    rows: list[_Row] = []
    for number, feature in enumerate(features, 1):
        feature = feature if isinstance(feature, dict) else {}
        fields = feature.get("properties")
        fields = fields if isinstance(fields, dict) else {}
        rows.append((f"{path}, feature {number}", fields, feature.get("geometry")))
    return rows


def _name(row: Mapping[str, Any]) -> str | None:
    """The file name of a row, with '/', below the source folder or bare."""
    known = {key.lower(): value for key, value in row.items() if isinstance(value, str | int)}
    name = next(
        (str(known[key]) for key in _FILE_COLUMNS if known.get(key) not in (None, "")), None
    )
    return name and name.replace("\\", "/").removeprefix("./")


def _record_or_error(
    where: str, row: Mapping[str, Any], geometry: Any
) -> ImageMetadata | InputError:
    try:
        if isinstance(geometry, InputError):
            raise geometry
        strict_json.check([row, geometry])
        return _record(where, row, geometry)
    except InputError as error:
        return error
    except Exception as error:  # GeoJSON fields may have any type
        return InputError(f"{where}: cannot be used: {error}")


def _record(where: str, row: Mapping[str, Any], geometry: Any) -> ImageMetadata:
    known = {key.lower(): value for key, value in row.items() if value not in ("", None)}
    footprint = None
    if geometry:
        try:
            geometry = shape(geometry)
        except Exception as error:  # its parts may have any type
            raise InputError(f"{where}: geometry cannot be read: {error}") from None
        if geometry.geom_type == "Point":
            known |= {"lon": geometry.x, "lat": geometry.y}
        else:
            footprint = _polygon(geometry, where)
    centre = None
    try:
        if "wkt" in known:
            footprint = _polygon(strict_wkt.loads(known["wkt"]), where)
        elif "bbox" in known:
            bbox = known["bbox"]
            parts = bbox if isinstance(bbox, list) else str(bbox).replace(",", " ").split()
            west, south, east, north = map(float, parts)
            footprint = _polygon(box(west, south, east, north), where)
        elif "lon" in known and "lat" in known:
            if "resolution" not in known:
                raise InputError(
                    f"{where}: lon and lat without resolution give a point, not a footprint",
                    hint="add a column 'resolution', metres per pixel",
                )
            centre = (float(known["lon"]), float(known["lat"]), float(known["resolution"]))
            _check_degrees(centre[0], centre[1], where)
            if not 0 < centre[2] <= MAX_RESOLUTION:
                raise InputError(f"{where}: invalid resolution: {centre[2]:g} metres per pixel")
    except (ShapelyError, ArithmeticError, ValueError, TypeError) as error:
        raise InputError(f"{where}: invalid footprint: {error}") from None
    acquired = None
    date = next((str(known[key]) for key in _DATE_COLUMNS if key in known), None)
    if date is not None and (acquired := dates.parse_date(date)) is None:
        raise InputError(
            f"{where}: invalid date: {date!r}", hint="write 2021-07-14 or 2021-07-14T10:30:00Z"
        )
    used = {*_FILE_COLUMNS, *_DATE_COLUMNS, *_PLACE_COLUMNS}
    properties = {key: value for key, value in row.items() if key.lower() not in used}
    return ImageMetadata(where, footprint, centre, acquired, properties)


def _polygon(geometry: BaseGeometry, where: str) -> Polygon:
    parts = shapely.get_parts(geometry)
    if len(parts) != 1 or parts[0].geom_type != "Polygon" or parts[0].is_empty:
        raise InputError(f"{where}: a footprint must be one polygon, not a {geometry.geom_type}")
    if not parts[0].is_valid:
        raise InputError(f"{where}: the footprint intersects itself")
    west, south, east, north = parts[0].bounds
    _check_degrees(west, south, where)
    _check_degrees(east, north, where)
    return orient(parts[0])


def _check_degrees(lon: float, lat: float, where: str) -> None:
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise InputError(
            f"{where}: coordinates out of range: {lon:g}, {lat:g}",
            hint="give coordinates in degrees (EPSG:4326), longitude first",
        )

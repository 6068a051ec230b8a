"""Footprints of rows of a table: WKB, points or coordinates -> rings in longitude and latitude.

Without a Python object for each row where all rows are plain quadrilaterals, as in published files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from shapely.geometry import Polygon

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.georeference.crs import to_lonlat
from dcsh_pg.imagery.georeference.footprint import convex, projected

_POINT, _POLYGON = 1, 3
_HEADER = {_POINT: 5, _POLYGON: 13}
_EQUATOR, _FLATTENING = 6_378_137.0, 0.0066943799901413165
"""Radius in metres and squared eccentricity of WGS 84."""


def coordinates(wkb: Any) -> np.ndarray | None:
    """A pyarrow array of WKB -> float64 (N, 2) of points, (N, M, 2) of rings of one length; None
    where its geometries are of several kinds or lengths."""
    length, stored = _records(wkb)
    if stored is None:
        return None
    kind = int.from_bytes(stored[0, 1:5].tobytes(), "little")
    head = _HEADER.get(kind)
    if head is None or (length - head) % 16 or (stored[:, :head] != stored[0, :head]).any():
        return None
    if stored[0, 0] != 1 or (kind == _POLYGON and stored[0, 5:9].tolist() != [1, 0, 0, 0]):
        return None
    points = np.ascontiguousarray(stored[:, head:]).view("<f8").reshape(len(stored), -1, 2)
    return points[:, 0] if kind == _POINT else points


def _records(wkb: Any) -> tuple[int, np.ndarray | None]:
    """The bytes of a pyarrow array whose values have one length, uint8 (N, length), not copied."""
    offset_type = np.int64 if str(wkb.type).startswith("large") else np.int32
    _, ends, data = wkb.buffers()
    ends = np.frombuffer(ends, offset_type)[wkb.offset : wkb.offset + len(wkb) + 1]
    length = int(ends[1] - ends[0])
    if length <= _HEADER[_POINT] or (np.diff(ends) != length).any():
        return 0, None
    stored = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    return length, stored.reshape(len(wkb), length)


def polygons(wkb: Any, first: int, uri: str) -> np.ndarray:
    """A pyarrow array of WKB -> geometries, object (N,): points, or polygons without their holes.

    Raises:
        InputError: a row has another geometry; names it, counted from ``first``.
    """
    found = shapely.from_wkb(np.array(wkb.to_pylist(), object), on_invalid="ignore")
    kinds = shapely.get_type_id(found)
    single = (kinds == shapely.GeometryType.MULTIPOLYGON) & (shapely.get_num_geometries(found) == 1)
    found[single] = shapely.get_geometry(found[single], 0)
    kinds = shapely.get_type_id(found)
    usable = np.isin(kinds, [_POINT - 1, _POLYGON]) & ~shapely.is_empty(found)
    if not usable.all():
        row = int(np.flatnonzero(~usable)[0])
        raise _unusable(uri, first + row, "is not a point or one polygon")
    is_polygon = kinds == _POLYGON
    found[is_polygon] = shapely.polygons(shapely.get_exterior_ring(found[is_polygon]))
    return shapely.force_2d(found)


def squares(lonlat: np.ndarray, side: float) -> np.ndarray:
    """Squares of ``side`` metres around points (N, 2) in degrees, north up -> rings (N, 5, 2)."""
    lon, lat = lonlat.T
    curve = np.sqrt(1 - _FLATTENING * np.sin(np.radians(lat)) ** 2)
    north = np.degrees(side / 2 * curve**3 / (_EQUATOR * (1 - _FLATTENING)))
    east = np.degrees(side / 2 * curve / (_EQUATOR * np.maximum(np.cos(np.radians(lat)), 1e-6)))
    east = np.minimum(east, 90)
    x = np.stack([lon - east, lon + east, lon + east, lon - east, lon - east], axis=1)
    y = np.stack([lat - north, lat - north, lat + north, lat + north, lat - north], axis=1)
    return np.stack([np.clip(x, -180, 180), np.clip(y, -90, 90)], axis=-1)


def to_degrees(points: np.ndarray, wkt: str | None, uri: str) -> np.ndarray:
    """Coordinates (..., 2) of a CRS, None for longitude and latitude, -> degrees."""
    if wkt is None:
        return points
    x, y = to_lonlat(wkt, points[..., 0], points[..., 1], uri=uri)
    return np.stack([x, y], axis=-1)


def footprints(
    rings: np.ndarray, wkt: str | None, first: int, uri: str
) -> np.ndarray | list[Polygon]:
    """Closed rings (N, M, 2) of a CRS -> valid footprints in EPSG:4326, counter-clockwise.

    Raises:
        InputError: a row's is not finite, outside of the CRS, or no valid polygon.
    """
    degrees = to_degrees(rings, wkt, uri)
    if degrees.shape[1] == 5 and (whole := convex(degrees)) is not None:
        return whole
    found: list[Polygon] = []
    for row, ring in enumerate(rings):
        try:
            polygon = Polygon(ring) if wkt is None else _transformed(ring, wkt, uri)
        except (ValueError, shapely.errors.GEOSException):
            polygon = Polygon()
        found.append(checked(polygon, first + row, uri))
    return found


def _transformed(ring: np.ndarray, wkt: str, uri: str) -> Polygon:
    return projected(Polygon(ring), lambda points: to_degrees(points, wkt, uri))


def checked(polygon: Polygon, row: int, uri: str) -> Polygon:
    """A footprint in degrees, counter-clockwise.

    Raises:
        InputError: it is empty or invalid, or leaves -180..180, -90..90.
    """
    bounds = np.abs(polygon.bounds) if not polygon.is_empty else np.array([np.inf])
    if not (np.isfinite(bounds).all() and polygon.is_valid):
        raise _unusable(uri, row, "is not a valid polygon")
    if bounds[::2].max() > 180 or bounds[1::2].max() > 90:
        raise _unusable(uri, row, "lies outside of longitude and latitude")
    return polygon if polygon.exterior.is_ccw else polygon.reverse()


def _unusable(uri: str, row: int, why: str) -> InputError:
    return InputError(
        f"{uri}: the footprint of row {row} {why}", hint="fix the row; rows are counted from 0"
    )

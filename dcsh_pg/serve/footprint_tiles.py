"""Vector tiles of footprints: cut by PostGIS, or here where the database has none."""

from __future__ import annotations

from dataclasses import replace

import mapbox_vector_tile
import numpy as np
import psycopg
import shapely
from shapely.geometry import box

from dcsh_pg.database.search import chips, tiles
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.errors import UsageError
from dcsh_pg.sql import Layer

EDGE = 20037508.342789244
"""Half the width of Web Mercator in metres."""

MOST_CHIPS = 20_000
"""Chips in a tile that is cut here."""

_RADIUS = EDGE / np.pi
_MARGIN = 1 / 64
"""Of a tile's width, which is cut around it as well, so that outlines do not show at its edges."""


def footprint_tile(
    conn: psycopg.Connection,
    layer: Layer,
    archive_name: str,
    z: int,
    x: int,
    y: int,
    filter: Filter,
) -> bytes:
    """A Mapbox vector tile of the chips that pass a filter; its features have ids alone.

    Raises:
        UsageError: there is no such tile, or the filter cannot be applied.
    """
    if layer == "postgis":
        return tiles.tile(conn, archive_name, z, x, y, filter=filter, properties=False)
    bounds = mercator_bounds(z, x, y)
    west, south, east, north = lonlat_bounds(bounds)
    visible = box(west, south, east, north)
    area = visible if filter.area is None else visible.intersection(filter.area)
    if not area.area:
        return b""
    found, footprints = chips.chips(
        conn, archive_name, replace(filter, area=area), limit=MOST_CHIPS
    )
    ids = np.array(found["id"], dtype=np.int64)
    widths = shapely.bounds(footprints)[:, 2] - shapely.bounds(footprints)[:, 0]
    wide = widths >= 360 / 2**z / 128  # as dcsh.tiles: at least two of 256 pixels
    placed = shapely.transform(footprints[wide], to_mercator)
    features = [
        {"geometry": footprint, "properties": {}, "id": int(id)}
        for id, footprint in zip(ids[wide], placed, strict=True)
    ]
    options = {"quantize_bounds": bounds, "extents": 4096}
    encoded: bytes = mapbox_vector_tile.encode(
        [{"name": "chips", "features": features}], default_options=options
    )
    return encoded


def mercator_bounds(z: int, x: int, y: int) -> tuple[float, float, float, float]:
    """West, south, east and north of a tile in Web Mercator, metres.

    Raises:
        UsageError: there is no such tile.
    """
    if not (0 <= z <= 24 and 0 <= x < 2**z and 0 <= y < 2**z):
        raise UsageError(
            f"tile {z}/{x}/{y} does not exist",
            hint="z must be from 0 to 24, x and y from 0 to 2^z - 1",
        )
    side = 2 * EDGE / 2**z
    west, north = x * side - EDGE, EDGE - y * side
    return west, north - side, west + side, north


def lonlat_bounds(
    bounds: tuple[float, float, float, float],
) -> tuple[float, float, float, float]:
    """The same in degrees, with the margin around it."""
    west, south, east, north = bounds
    margin = (east - west) * _MARGIN
    corners = np.array([[west - margin, south - margin], [east + margin, north + margin]])
    lon = np.degrees(corners[:, 0] / _RADIUS).clip(-180, 180)
    lat = np.degrees(np.arctan(np.sinh(corners[:, 1] / _RADIUS)))
    return float(lon[0]), float(lat[0]), float(lon[1]), float(lat[1])


def to_mercator(lonlat: np.ndarray) -> np.ndarray:
    """Degrees (N, 2) -> metres of Web Mercator (N, 2)."""
    x, y = to_mercator_unit(lonlat[:, 0], lonlat[:, 1])
    return np.column_stack([2 * x - 1, 1 - 2 * y]) * EDGE


def to_mercator_unit(lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees -> shares of the square of Web Mercator from the west and from the north."""
    y = 0.5 - np.arcsinh(np.tan(np.radians(np.clip(lat, -85.06, 85.06)))) / (2 * np.pi)
    return lon / 360 + 0.5, y

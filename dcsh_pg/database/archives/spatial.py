"""Footprints and areas on the wire: the one Python module that knows both spatial layers.

With PostGIS a footprint is EWKB, without it PostgreSQL's ``polygon``.  All are longitude and
latitude (EPSG:4326).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.validation import explain_validity

from dcsh_pg.errors import SchemaError, UsageError
from dcsh_pg.sql import Layer

SRID = 4326
_EWKB_POLYGON = 3 | 0x20000000
_BIG_ENDIAN = 0


def layer_of(conn: psycopg.Connection) -> Layer:
    """The spatial layer of the schema in this database.

    Raises:
        SchemaError: the database has no schema dcsh.
    """
    row = conn.execute(
        """
        SELECT b.typname FROM pg_type t JOIN pg_type b ON b.oid = t.typbasetype
        WHERE t.oid = to_regtype('dcsh.area')
        """
    ).fetchone()
    if row is None:
        raise SchemaError("no dcsh-pg schema", hint="create it with 'dcsh-pg db upgrade'")
    return "core" if row[0] == "polygon" else "postgis"


def area_text(area: BaseGeometry, layer: Layer) -> str:
    """An area as the text of the SQL argument ``area``.

    Raises:
        UsageError: it is empty or invalid, or, without PostGIS, not one polygon without holes.
    """
    if area.is_empty:
        raise UsageError("the area is empty")
    if not area.is_valid:
        raise UsageError(
            f"the area is not a valid geometry: {explain_validity(area)}",
            hint="repair it, for example with shapely.make_valid or ST_MakeValid",
        )
    if layer == "postgis":
        return shapely.to_wkb(shapely.set_srid(area, SRID), hex=True, include_srid=True)
    if isinstance(area, MultiPolygon) and len(area.geoms) == 1:
        area = area.geoms[0]
    if not isinstance(area, Polygon) or len(area.interiors):
        kind = "a polygon with holes" if isinstance(area, Polygon) else f"a {area.geom_type}"
        raise UsageError(
            f"the area is {kind}, which a database without PostGIS cannot search",
            hint="give one polygon without holes, or use a PostgreSQL with PostGIS (--dsn)",
        )
    corners = shapely.get_coordinates(area)[:-1]
    return "(" + ",".join(f"({x!r},{y!r})" for x, y in corners.tolist()) + ")"


def footprint(text: str | None) -> dict[str, Any] | None:
    """:func:`geojson` of a footprint that may be NULL."""
    return None if text is None else geojson(text)


def geojson(text: str) -> dict[str, Any]:
    """A footprint as PostgreSQL prints it (hexadecimal EWKB or polygon) -> GeoJSON geometry."""
    if not text.startswith("("):
        geometry: dict[str, Any] = json.loads(shapely.to_geojson(shapely.from_wkb(text)))
        return geometry
    numbers = [float(number) for number in text.replace("(", "").replace(")", "").split(",")]
    ring = [list(corner) for corner in zip(numbers[::2], numbers[1::2], strict=True)]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def wire_footprints(
    footprints: Sequence[Polygon] | np.ndarray | None, count: int, layer: Layer
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Footprints as fields of binary COPY, in groups of one length.

    Args:
        footprints: ``count`` polygons without holes, or closed rings float64 (count, M, 2), or
            None for ``count`` NULLs.

    Yields:
        Which rows they are, int64 (M,), and their fields, a structured array (M,) that starts
        with the length in bytes (-1: NULL).
    """
    if footprints is None:
        yield np.arange(count), np.full(count, -1, ">i4").view([("length", ">i4")])
        return
    wire = _ewkb if layer == "postgis" else _polygon
    if isinstance(footprints, np.ndarray) and footprints.ndim == 3:
        yield np.arange(count), wire(footprints)
        return
    polygons = np.asarray(footprints, dtype=object)
    if not np.all(shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON) or np.any(
        shapely.get_num_interior_rings(polygons)
    ):
        raise ValueError("a footprint must be one polygon without holes")
    corners = shapely.get_num_coordinates(polygons)
    for n in np.unique(corners).tolist():
        rows = np.flatnonzero(corners == n)
        rings = shapely.get_coordinates(polygons[rows]).reshape(len(rows), n, 2)
        yield rows, wire(rings)


def _ewkb(rings: np.ndarray) -> np.ndarray:
    """Closed rings float64 (M, N, 2) -> big-endian EWKB polygons behind their length."""
    count, n, _ = rings.shape
    fields = np.empty(
        count,
        [
            ("length", ">i4"), ("order", "u1"), ("type", ">u4"), ("srid", ">u4"),
            ("rings", ">u4"), ("points", ">u4"), ("xy", ">f8", (n, 2)),
        ],
    )  # fmt: skip
    fields["length"] = fields.itemsize - 4
    fields["order"], fields["type"], fields["srid"] = _BIG_ENDIAN, _EWKB_POLYGON, SRID
    fields["rings"], fields["points"], fields["xy"] = 1, n, rings
    return fields


def _polygon(rings: np.ndarray) -> np.ndarray:
    """Closed rings float64 (M, N, 2) -> PostgreSQL polygons (not closed) behind their length."""
    count, n, _ = rings.shape
    fields = np.empty(count, [("length", ">i4"), ("points", ">i4"), ("xy", ">f8", (n - 1, 2))])
    fields["length"] = fields.itemsize - 4
    fields["points"], fields["xy"] = n - 1, rings[:, :-1]
    return fields

"""Tables of the user that list images, read in place: ``dcsh.source_rows``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape

from dcsh_pg import strict_wkt
from dcsh_pg.database.archives import spatial
from dcsh_pg.database.server.pg_errors import sql_errors


@dataclass(frozen=True)
class SourceRow:
    """An image as a row describes it.

    Attributes:
        location: path, URL or GDAL name as the table has it, or None.
        footprint: in ``crs``, or None if the row has no valid one.
        crs: authority and code, 'EPSG:26916', or WKT; None means EPSG:4326.
        acquired: ISO 8601, or any other text that the column has, or None.
        properties: the row's other columns.
    """

    location: str | None
    footprint: shapely.Geometry | None = None
    crs: str | None = None
    acquired: str | None = None
    properties: dict[str, Any] = field(default_factory=dict)


def source_rows(
    conn: psycopg.Connection,
    table: str,
    *,
    location: str = "location",
    geometry: str | None = None,
    acquired: str | None = None,
) -> Iterator[SourceRow]:
    """The rows of a table or view, by location.

    Args:
        table: SCHEMA.TABLE, quoted as in SQL.
        location, geometry, acquired: names of columns; the geometry is PostGIS's geometry or
            geography, PostgreSQL's polygon, or WKT.

    Raises:
        NotFound: there is no such table.
        UsageError: it has no such column, or ``table`` is not a table's name.
        ServerError: this role may not read it.
    """
    with sql_errors():
        rows = conn.execute(
            "SELECT * FROM dcsh.source_rows(%s, %s, %s, %s)", [table, location, geometry, acquired]
        ).fetchall()
    for place, footprint, crs, time, properties in rows:
        yield SourceRow(place, _geometry(footprint), crs, time, properties)


def _geometry(text: str | None) -> shapely.Geometry | None:
    """Hexadecimal EWKB, PostgreSQL's polygon or WKT -> geometry, or None."""
    if not text:
        return None
    try:
        return strict_wkt.loads(text) if text[0].isalpha() else shape(spatial.geojson(text))
    except (ShapelyError, ValueError):
        return None

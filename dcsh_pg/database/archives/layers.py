"""Vector tiles of an archive, as map servers take them from ``dcsh.tiles``."""

from __future__ import annotations

from datetime import datetime

import psycopg
from psycopg.types.json import Json
from shapely.geometry.base import BaseGeometry

from dcsh_pg import codes
from dcsh_pg.database.archives import spatial
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import scalar
from dcsh_pg.errors import ServerError


def tile(
    conn: psycopg.Connection,
    archive_name: str,
    z: int,
    x: int,
    y: int,
    *,
    chip: int | None = None,
    code: bytes | None = None,
    k: int | None = None,
    area: BaseGeometry | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    max_distance: int | None = None,
) -> bytes:
    """A Mapbox vector tile in Web Mercator, y counted from the north: ``dcsh.tiles``.

    Its layer ``chips`` has the footprints of all chips of the archive that meet the tile or, with
    ``chip`` or ``code`` (packed, K/8 bytes), of those among the k nearest; then the layer
    ``centres`` has their centres too.  A feature's id is that of its chip.  The filters are those
    of :func:`dcsh_pg.database.search.similar.similar`.

    Raises:
        NotFound: no such archive or chip.
        UsageError: there is no such tile, ``k`` or ``max_distance`` is given without a query, or
            as :func:`dcsh_pg.database.search.similar.similar`.
        ServerError: the database keeps its footprints without PostGIS.
    """
    layer = spatial.layer_of(conn)
    if layer != "postgis":
        raise ServerError(
            "vector tiles are made by PostGIS, and this database keeps its footprints without",
            hint="use a database whose schema was made with PostGIS (--dsn)",
        )
    query = {
        "archive": archive_name,
        "chip": chip,
        "code": None if code is None else codes.to_hex(code),
        "k": k,
        "area": None if area is None else spatial.area_text(area, layer),
        "since": None if since is None else since.isoformat(),
        "until": None if until is None else until.isoformat(),
        "max_distance": max_distance,
    }
    with sql_errors():
        asked = "SELECT dcsh.tiles(%s::integer, %s::integer, %s::integer, %s)"
        return scalar(conn, bytes, asked, [z, x, y, Json(query)])

"""Vector tiles of an archive or of a search in it: ``dcsh.tiles``."""

from __future__ import annotations

import psycopg
from psycopg import sql
from psycopg.types.json import Json

from dcsh_pg import codes
from dcsh_pg.database.archives import spatial
from dcsh_pg.database.search.call import filter_arguments
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.query import ChipQuery, CodeQuery
from dcsh_pg.database.server.rows import scalar
from dcsh_pg.errors import ServerError


def tile(
    conn: psycopg.Connection,
    archive_name: str,
    z: int,
    x: int,
    y: int,
    query: CodeQuery | ChipQuery | None = None,
    *,
    filter: Filter = Filter(),
    k: int | None = None,
    properties: bool = True,
) -> bytes:
    """A Mapbox vector tile in Web Mercator, y counted from the north.

    Its layer ``chips`` has the footprints of all chips in the tile or, with a query, of those among
    the k nearest; then the layer ``centres`` has their centres too.  A feature's id is that of its
    chip; without ``properties`` it has no others than the rank and the distance of a hit.

    Raises:
        NotFound: no such chip.
        UsageError: there is no such tile, or ``k`` or ``max_distance`` is given without a query.
        ServerError: the database keeps its footprints without PostGIS.
    """
    if spatial.layer_of(conn) != "postgis":
        raise ServerError(
            "vector tiles need PostGIS, and this database stores footprints without",
            hint="use a database whose schema was made with PostGIS (--dsn)",
        )
    conditions = filter_arguments(conn, archive_name, filter)
    parameters: dict[str, object] = {
        "archive": archive_name,
        "chip": query.chip if isinstance(query, ChipQuery) else None,
        "code": codes.to_hex(query.code) if isinstance(query, CodeQuery) else None,
        "k": k,
        "area": conditions["area"],
        "since": None if filter.since is None else filter.since.isoformat(),
        "until": None if filter.until is None else filter.until.isoformat(),
        "max_distance": filter.max_distance,
        "exact": None if query is None else query.exact,
        "properties": properties,
    }
    if isinstance(conditions["scenes"], sql.Composable):
        scenes = sql.SQL("SELECT {}").format(conditions["scenes"])
        parameters["scenes"] = scalar(conn, list, scenes)
    return scalar(
        conn,
        bytes,
        "SELECT dcsh.tiles(%s::integer, %s::integer, %s::integer, %s)",
        [z, x, y, Json(parameters)],
    )

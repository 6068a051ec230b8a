"""Archives beside pgstac: filter scenes by their STAC items, and join chips with these.

A scene has the collection and the id of its item; pgstac stores the items in the same database.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import scalar


def scenes_in_stac(
    conn: psycopg.Connection, archive_name: str, filter: dict[str, Any]
) -> list[int]:
    """Ids of the scenes whose item passes a CQL2-JSON filter: ``dcsh.scenes_in_stac``.

    Raises:
        NotFound: no such archive.
        ServerError: the database has no pgstac.
        UsageError: pgstac refuses the filter.
    """
    with sql_errors():
        rows = conn.execute(
            "SELECT dcsh.scenes_in_stac(%s, %s)", [archive_name, Jsonb(filter)]
        ).fetchall()
    return [id for (id,) in rows]


def create_view(conn: psycopg.Connection, archive_name: str) -> str:
    """Creates the view of chips with their items and returns its name: ``dcsh.create_pgstac_view``.

    Raises:
        NotFound: no such archive.
        ServerError: the database has no pgstac.
        UsageError: something that is not a view has that name.
    """
    with sql_errors():
        return scalar(conn, str, "SELECT dcsh.create_pgstac_view(%s)::text", [archive_name])


def drop_view(conn: psycopg.Connection, archive_name: str) -> bool:
    """Drops that view: ``dcsh.drop_pgstac_view``; False where there was none.

    Raises:
        NotFound: no such archive.
    """
    with sql_errors():
        return scalar(conn, bool, "SELECT dcsh.drop_pgstac_view(%s)", [archive_name])

"""Archives beside pgstac, which stores the STAC items of scenes in the same database."""

from __future__ import annotations

import psycopg

from dcsh_pg.database.server.rows import scalar


def create_view(conn: psycopg.Connection, archive_name: str) -> str:
    """Creates the view of chips with their items and returns its name: ``dcsh.create_pgstac_view``.

    Raises:
        ServerError: the database has no pgstac.
        UsageError: something that is not a view has that name.
    """
    return scalar(conn, str, "SELECT dcsh.create_pgstac_view(%s)::text", [archive_name])


def drop_view(conn: psycopg.Connection, archive_name: str) -> bool:
    """Drops that view: ``dcsh.drop_pgstac_view``; False where there was none."""
    return scalar(conn, bool, "SELECT dcsh.drop_pgstac_view(%s)", [archive_name])

"""Archives distributed over the workers of a Citus cluster.

The chips are on the workers; models, archives and scenes stay on the coordinator.  Every function
of ``dcsh`` works on a distributed archive as on any other and returns the same rows.
"""

from __future__ import annotations

import psycopg

from dcsh_pg.database.archives import registry
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import scalar


def distribute(conn: psycopg.Connection, name: str, *, shards: int | None = None) -> int:
    """Distributes an archive's chips: ``dcsh.distribute_archive``; safe to repeat.

    Args:
        conn: to the coordinator.
        name: of the archive.
        shards: number of shards, 1 to 64,000; one per worker by default.

    Returns:
        The number of shards.

    Raises:
        NotFound: no such archive.
        ServerError: no Citus, no worker, or already distributed over another number of shards.
    """
    registry.get_archive(conn, name)
    return scalar(conn, int, "SELECT dcsh.distribute_archive(%s, %s)", [name, shards])


def undistribute(conn: psycopg.Connection, name: str) -> bool:
    """Moves an archive's chips back to the coordinator: ``dcsh.undistribute_archive``.

    Returns:
        False if the archive was not distributed.

    Raises:
        NotFound: no such archive.
        ServerError: the database has no Citus, or a worker is down.
    """
    registry.get_archive(conn, name)
    return scalar(conn, bool, "SELECT dcsh.undistribute_archive(%s)", [name])


def workers(conn: psycopg.Connection, name: str) -> dict[str, int]:
    """The shards on each worker, ``{"host:port": shards}``; empty if not distributed."""
    with sql_errors():
        if not scalar(conn, bool, "SELECT dcsh_private.is_distributed(%s)", [name]):
            return {}
        return dict(
            conn.execute(
                """
                SELECT format('%%s:%%s', nodename, nodeport), count(*)
                FROM pg_catalog.citus_shards
                WHERE table_name = to_regclass(format('dcsh.%%I', %s::text))
                GROUP BY 1 ORDER BY 1
                """,
                [name],
            ).fetchall()
        )

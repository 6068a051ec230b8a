"""An archive over several PostgreSQL servers: moving it there, and back.

Its chips lie on the other servers, where ``postgres_fdw`` reaches them; the registry and the scenes
stay where they are.  Every function of ``dcsh``, and so all of dcsh-pg, works on such an archive as
on any other and gives the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from dcsh_pg.database import connection, migrate, registry, spatial
from dcsh_pg.database.connection import sql_errors
from dcsh_pg.errors import UsageError
from dcsh_pg.progress import SILENT, Progress

OF_THE_CLIENT = ("service", "passfile", "client_encoding", "fallback_application_name")
"""Keywords of libpq that mean nothing to another server."""


@dataclass(frozen=True)
class Shard:
    """A server that holds chips of an archive.

    Attributes:
        shard: its number, from 1.
        server: name of the foreign server in the archive's own database.
        host, port, dbname: where it is, as seen from the archive's own server.
        chips: how many of the archive's chips are there.
    """

    shard: int
    server: str
    host: str
    port: int
    dbname: str
    chips: int


def shards(conn: psycopg.Connection, name: str) -> list[Shard]:
    """The servers that an archive lies on, none for an ordinary one: ``dcsh.shards``.

    Raises:
        NotFound: no such archive.
        ServerError: one of the servers cannot be reached.
    """
    registry.get_archive(conn, name)
    with sql_errors():
        rows = conn.execute("SELECT * FROM dcsh.shards(%s)", [name]).fetchall()
    return [Shard(*row) for row in rows]


def shard(
    conn: psycopg.Connection,
    name: str,
    servers: Sequence[str],
    *,
    by: Literal["scene", "chip"] = "scene",
    progress: Progress = SILENT,
) -> int:
    """Moves the chips of an archive to other servers: ``dcsh.shard_archive``.

    The schema is made there, or brought up to date.  All else happens in one transaction: a run that
    fails or is killed leaves the archive as it was, and one that is repeated after it succeeded
    changes nothing.

    Args:
        conn: to the archive's own database.
        name: of the archive.
        servers: a DSN for each shard, which must mean the same to this machine and to the archive's
            own server.  A password goes into a user mapping there.
        by: 'scene' keeps the chips of a scene together, 'chip' spreads them.

    Returns:
        The number of chips moved.

    Raises:
        NotFound: no such archive.
        ServerError: a server cannot be reached, lacks ``postgres_fdw`` (the archive's own) or
            pgvector, or refuses.
        SchemaError: a server keeps footprints another way.
        UsageError: no servers, two that are one database, one that has an archive of that name of
            its own, or the archive lies on other servers already.
    """
    registry.get_archive(conn, name)
    if not servers:
        raise UsageError("no server to move the archive to", hint="name each with --server DSN")
    layer = spatial.layer_of(conn)
    keywords = []
    for dsn in servers:
        conninfo = connection.resolve(dsn, option="--server")
        migrate.upgrade(conninfo, spatial=layer)
        keywords.append(_keywords(conninfo))
    progress.start(f"moving the chips to {len(servers)} servers")
    with sql_errors(), conn.transaction():
        names = [
            conn.execute("SELECT dcsh.create_shard_server(%s)", [Jsonb(given)]).fetchone()[0]
            for given in keywords
        ]
        return conn.execute("SELECT dcsh.shard_archive(%s, %s, %s)", [name, names, by]).fetchone()[
            0
        ]


def unshard(conn: psycopg.Connection, name: str, *, progress: Progress = SILENT) -> int:
    """Brings the chips of an archive back to its own server: ``dcsh.unshard_archive``.

    Then drops the copies on the shards: ``dcsh.drop_former_shards``.  A run that was killed is made up
    for by the next.

    Returns:
        The number of chips brought back; 0 where all were here.

    Raises:
        NotFound: no such archive.
        ServerError: a server cannot be reached.
    """
    registry.get_archive(conn, name)
    progress.start("bringing the chips back")
    with sql_errors():
        with conn.transaction():
            moved = conn.execute("SELECT dcsh.unshard_archive(%s)", [name]).fetchone()[0]
        conn.execute("SELECT dcsh.drop_former_shards(%s)", [name])
    return moved


def _keywords(conninfo: str) -> dict[str, Any]:
    """What another server needs to open the same connection, password included."""
    with connection.open_connection(conninfo) as conn:
        given = conn.info.get_parameters() | {
            "host": conn.info.host,
            "port": str(conn.info.port),
            "password": conn.info.password,
        }
    return {key: value for key, value in given.items() if value and key not in OF_THE_CLIENT}

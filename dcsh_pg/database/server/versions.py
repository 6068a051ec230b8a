"""The oldest PostgreSQL and pgvector that dcsh-pg works with."""

from __future__ import annotations

import psycopg

from dcsh_pg.errors import ServerError

MIN_SERVER = 14
MIN_PGVECTOR = (0, 7)


def check_versions(conn: psycopg.Connection) -> None:
    """Checks the versions of PostgreSQL and pgvector.

    Raises:
        ServerError: one is too old, or pgvector is missing.
    """
    if conn.info.server_version < MIN_SERVER * 10000:
        raise ServerError(
            f"the server is PostgreSQL {conn.info.parameter_status('server_version')}",
            hint=f"dcsh-pg needs PostgreSQL {MIN_SERVER} or newer",
        )
    row = conn.execute(
        """
        SELECT e.extversion, a.default_version
        FROM pg_available_extensions a LEFT JOIN pg_extension e ON e.extname = a.name
        WHERE a.name = 'vector'
        """
    ).fetchone()
    if row is None:
        raise ServerError(
            "the server has no pgvector",
            hint="install it on the server (package postgresql-NN-pgvector), then as its "
            "administrator: CREATE EXTENSION vector",
        )
    installed, available = row
    needed = ".".join(map(str, MIN_PGVECTOR))
    if _version(installed or available) < MIN_PGVECTOR:
        newer = _version(available) >= MIN_PGVECTOR
        raise ServerError(
            f"pgvector {installed or available} is too old",
            hint="as administrator: ALTER EXTENSION vector UPDATE"
            if newer
            else f"install pgvector {needed} or newer on the server",
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())

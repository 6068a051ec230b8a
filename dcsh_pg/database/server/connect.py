"""Which PostgreSQL to use, and a connection to it."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg

from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connection import open_connection
from dcsh_pg.database.server.dsn import has_libpq_variables, read_dsn
from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.errors import UsageError


def connect(dsn: str | None = None, *, pg_bin: Path | None = None) -> psycopg.Connection:
    """Opens a connection to the server that :func:`resolve` names: autocommit, time zone UTC,
    ``bit`` as ``pgvector.Bit``.

    On the embedded server the schema is created or upgraded; on any other server the user does that
    with ``dcsh-pg db upgrade`` (:func:`dcsh_pg.database.server.schema.require_current` checks it).

    Raises:
        ServerError: unreachable, older than PostgreSQL 14, or pgvector missing or older than 0.7.
        UsageError: as :func:`resolve`.
    """
    if not is_embedded(dsn, pg_bin=pg_bin):
        return open_connection(resolve(dsn, pg_bin=pg_bin))
    conn = EmbeddedServer.of(pg_bin).open()
    migrate.ensure(conn)
    return conn


def resolve(dsn: str | None = None, *, pg_bin: Path | None = None, option: str = "--dsn") -> str:
    """The libpq string of the server to use.

    The first of: ``dsn`` (URL, also in SQLAlchemy's form postgresql+psycopg://, libpq string or
    service=NAME); the libpq environment (PGHOST, PGSERVICE, ...); DATABASE_URL; the embedded
    server, started if need be.  ``pg_bin`` asks for the embedded server with those programs.
    ``option`` is what errors call ``dsn``.

    Raises:
        UsageError: ``dsn`` cannot be read, or comes together with ``pg_bin``.
        ServerError: the embedded server cannot be started.
    """
    if dsn is not None and pg_bin is not None:
        raise UsageError(
            "--dsn and --pg-bin cannot be combined",
            hint="--pg-bin is for the embedded server, --dsn for one that runs already",
        )
    if is_embedded(dsn, pg_bin=pg_bin):
        return EmbeddedServer.of(pg_bin).start()
    if dsn is not None:
        return read_dsn(dsn, option)
    if has_libpq_variables():
        return read_dsn("", "the environment")
    return read_dsn(os.environ["DATABASE_URL"], "DATABASE_URL")


def is_embedded(dsn: str | None, *, pg_bin: Path | None = None) -> bool:
    """True when nothing names a server, so that the embedded one is meant."""
    if dsn is not None:
        return False
    return pg_bin is not None or not (has_libpq_variables() or os.environ.get("DATABASE_URL"))

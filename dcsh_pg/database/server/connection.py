"""Connections to a server that is known, by psycopg."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from pgvector.psycopg.bit import register_bit_info
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from dcsh_pg.database.server import search_path
from dcsh_pg.database.server.pg_errors import sql_errors, unreachable
from dcsh_pg.database.server.versions import check_versions
from dcsh_pg.terminal import printable


def open_connection(conninfo: str) -> psycopg.Connection:
    """A connection for a libpq string: autocommit, time zone UTC, ``bit`` as ``pgvector.Bit``.

    Statements are not prepared: behind PgBouncer, one that was prepared may be unknown to the next
    server connection, or its name taken there.

    Raises:
        ServerError: unreachable, older than PostgreSQL 14, or pgvector missing or older than 0.7.
    """
    try:
        conn = psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)
    except psycopg.OperationalError as error:
        raise unreachable(conninfo, error) from None
    try:
        prepare(conn)
    except BaseException:
        conn.close()
        raise
    return conn


def prepare(conn: psycopg.Connection) -> None:
    """Makes a new connection one of :func:`open_connection`.

    Raises:
        ServerError: PostgreSQL is older than 14, or pgvector is missing or older than 0.7.
    """
    with sql_errors():
        search_path.make_safe(conn)
        check_versions(conn)
        conn.execute("SET TIME ZONE 'UTC'")
    register_bit_info(conn, psycopg.adapters.types["bit"])
    conn.add_notice_handler(_log_no_data)


def _log_no_data(notice: psycopg.errors.Diagnostic) -> None:
    """Logs that ``dcsh.scenes_where`` found no scene with a property; logging prints it on stderr."""
    if notice.sqlstate == psycopg.errors.NoData.sqlstate:
        logging.getLogger("dcsh_pg").warning("%s", printable(notice.message_primary or ""))


def is_lost(conn: psycopg.Connection) -> bool:
    """Whether the server, or the way to it, has ended an idle connection; asks without a round trip."""
    if not conn.closed and conn.info.transaction_status == TransactionStatus.IDLE:
        with suppress(psycopg.Error):
            conn.pgconn.consume_input()  # what the server said last
            conn.pgconn.consume_input()  # the end
    return conn.broken


def reopen(conn: psycopg.Connection) -> psycopg.Connection:
    """A new connection to where a lost one went.

    Raises:
        ServerError: as :func:`open_connection`.
    """
    return open_connection(make_conninfo(conn.info.dsn, password=conn.info.password or None))


@contextmanager
def snapshot(conn: psycopg.Connection) -> Iterator[None]:
    """Makes all queries of the block see the database at one moment; nothing can be written.

    Raises:
        ServerError: the connection is in a transaction already.
    """
    with sql_errors(), conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield

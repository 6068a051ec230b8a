"""Which PostgreSQL to use, and a connection to it that is known to be good enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from pgvector.psycopg.bit import register_bit_info
from psycopg import errors as sqlstate
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from dcsh_pg.database.server import search_path
from dcsh_pg.errors import DcshError, NotFound, ServerError, UsageError

if TYPE_CHECKING:
    import sqlalchemy

MIN_SERVER = 14
MIN_PGVECTOR = (0, 7)
CONNECT_SECONDS = 10

POOLED = {"prepare_threshold": None}
"""Arguments of ``psycopg.connect`` that make a connection fit for PgBouncer: behind it, a statement
that was prepared may be unknown to the next server connection, or its name taken there."""

LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE", "PGDATABASE")


def is_embedded(dsn: str | None, *, pg_bin: Path | None = None) -> bool:
    """True when nothing names a server, so that the embedded one is meant."""
    if dsn is not None:
        return False
    named = any(os.environ.get(name) for name in (*LIBPQ_VARIABLES, "DATABASE_URL"))
    return pg_bin is not None or not named


def resolve(dsn: str | None = None, *, pg_bin: Path | None = None, option: str = "--dsn") -> str:
    """The libpq string of the server to use.

    In this order: ``dsn`` (URL, also in SQLAlchemy's form postgresql+psycopg://, libpq string or
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
        from dcsh_pg.database.server.embedded import EmbeddedServer

        return EmbeddedServer.of(pg_bin).start()
    if dsn is not None:
        return _conninfo(dsn, option)
    if any(os.environ.get(name) for name in LIBPQ_VARIABLES):
        return _conninfo("", "the environment")
    return _conninfo(os.environ["DATABASE_URL"], "DATABASE_URL")


def _conninfo(dsn: str, source: str) -> str:
    scheme, separator, rest = dsn.partition("://")
    if separator:
        dsn = f"{scheme.partition('+')[0]}://{rest}"
    try:
        return make_conninfo(**({"connect_timeout": CONNECT_SECONDS} | conninfo_to_dict(dsn)))
    except psycopg.Error:
        # Its message may quote the password.
        raise UsageError(
            f"{source} is neither a URL nor a libpq string",
            hint="write postgresql://user@host:5432/database, 'host=... dbname=...' or service=NAME",
        ) from None


def url(conninfo: str, *, require_auth: bool = True) -> str:
    """A libpq string as a URL, for programs that want one; the password is in it.

    Without ``require_auth`` that parameter, which libpq has known since PostgreSQL 16, is left out.
    """
    from urllib.parse import quote, urlencode

    parts = conninfo_to_dict(conninfo)
    parts.pop("connect_timeout", None)
    if not require_auth:
        parts.pop("require_auth", None)
    user = ":".join(
        quote(parts.pop(key), safe="") for key in ("user", "password") if parts.get(key)
    )
    host, port = quote(parts.pop("host", ""), safe=""), parts.pop("port", None)
    database = quote(parts.pop("dbname", ""), safe="")
    rest = urlencode(parts)
    return (
        f"postgresql://{user + '@' if user else ''}{host}{f':{port}' if port else ''}"
        f"/{database}{'?' + rest if rest else ''}"
    )


def connect(dsn: str | None = None, *, pg_bin: Path | None = None) -> psycopg.Connection:
    """Opens a connection: autocommit, time zone UTC, ``bit`` as ``pgvector.Bit``.

    The embedded server gets its schema here; on a server of the user's own the schema is the
    user's decision (:func:`dcsh_pg.database.server.migrate.require_current`).

    Raises:
        ServerError: unreachable, older than PostgreSQL 14, or pgvector missing or older than 0.7.
        UsageError: as :func:`resolve`.
    """
    if not is_embedded(dsn, pg_bin=pg_bin):
        return open_connection(resolve(dsn, pg_bin=pg_bin))
    from dcsh_pg.database.server import migrate
    from dcsh_pg.database.server.embedded import EmbeddedServer

    conn = EmbeddedServer.of(pg_bin).open()
    migrate.ensure(conn)
    return conn


def open_connection(conninfo: str) -> psycopg.Connection:
    """:func:`connect` for a libpq string, with no thought of the schema."""
    try:
        conn = psycopg.connect(conninfo, autocommit=True, **POOLED)
    except psycopg.OperationalError as error:
        raise unreachable(conninfo, error) from None
    try:
        with sql_errors():
            search_path.make_safe(conn)
            _check_versions(conn)
            conn.execute("SET TIME ZONE 'UTC'")
        register_bit_info(conn, psycopg.adapters.types["bit"])
    except BaseException:
        conn.close()
        raise
    return conn


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


def engine(
    conn: psycopg.Connection,
    on_notice: Callable[[psycopg.errors.Diagnostic], None] | None = None,
) -> sqlalchemy.Engine:
    """A SQLAlchemy engine whose connections go where ``conn`` goes; ``on_notice`` gets the
    server's notices and warnings."""
    import sqlalchemy
    from sqlalchemy.pool import NullPool

    conninfo = make_conninfo(conn.info.dsn, password=conn.info.password or None)

    def opened() -> psycopg.Connection:
        made = psycopg.connect(conninfo, autocommit=True, **POOLED)
        search_path.make_safe(made)
        if on_notice is not None:
            made.add_notice_handler(on_notice)
        made.autocommit = False
        return made

    return sqlalchemy.create_engine("postgresql+psycopg://", creator=opened, poolclass=NullPool)


def unreachable(conninfo: str, error: psycopg.OperationalError) -> ServerError:
    """The error of our family for a connection that was refused."""
    asked = conninfo_to_dict(conninfo)
    host = asked.get("host") or os.environ.get("PGHOST") or "the local socket"
    port = asked.get("port") or os.environ.get("PGPORT") or "5432"
    where = f"service {asked['service']}" if asked.get("service") else f"{host}, port {port}"
    reason = str(error).strip().splitlines()[0].rpartition(" failed: ")[2].strip()
    return ServerError(
        f"cannot open PostgreSQL at {where}: {reason}",
        hint=next(
            (hint for words, hint in _REFUSALS.items() if words in reason),
            "see that the server runs and that host, port, database, user and password are right "
            "(--dsn, or PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD)",
        ),
    )


_CROWDED = "the server runs; close other connections and try again, or raise max_connections"
_REFUSALS = {
    "too many clients": _CROWDED,
    "too many connections": _CROWDED,
    "remaining connection slots": _CROWDED,
    "no more connections allowed": _CROWDED,
    "unsupported startup parameter": "PgBouncer refuses it: leave out PGOPTIONS and options=, or name "
    "the parameter in its ignore_startup_parameters",
    "the database system is": "the server runs; try again when it is ready",
    "server requested": "another program may have taken the server's port, so no password was sent; "
    "see which server listens there",
}
"""Parts of messages in English, in which a server that has no other language speaks: libpq does not
tell the SQLSTATE of a refused connection."""


def _check_versions(conn: psycopg.Connection) -> None:
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


@contextmanager
def sql_errors() -> Iterator[None]:
    """Turns what a ``dcsh`` function or the server complains about into our family of errors."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(error) from error


def translated(error: psycopg.Error) -> DcshError:
    """The error of our family for one of PostgreSQL's; message and hint are the server's own."""
    message = error.diag.message_primary or str(error).strip().splitlines()[0]
    hint = error.diag.message_hint
    if "statement pooling mode" in message:
        return ServerError(
            "PgBouncer pools statements on this connection, and the command needs a transaction",
            hint="name a pool in transaction or session mode with --dsn, or the server itself; "
            "searches work in statement mode",
        )
    if isinstance(error, (sqlstate.UndefinedTable, sqlstate.NoDataFound)):
        return NotFound(message, hint=hint)
    if isinstance(error, _USAGE):
        return UsageError(message, hint=hint)
    if isinstance(error, sqlstate.NumericValueOutOfRange):
        return UsageError(
            f"a number is too large: {message}", hint=hint or "ids have 64 bits, other numbers 32"
        )
    if isinstance(error, sqlstate.InsufficientPrivilege):
        return ServerError(
            message,
            hint=hint or "ask the owner of schema dcsh for the right (docs/sql.md, 'Roles')",
        )
    return ServerError(message, hint=hint or _server_hint(error))


def _server_hint(error: psycopg.Error) -> str | None:
    """What to do about an error that is neither in the data nor in the request."""
    if isinstance(error, sqlstate.QueryCanceled):
        if "statement timeout" in str(error):
            return (
                "raise or switch off the limit: ALTER ROLE ... SET statement_timeout = 0, or "
                "PGOPTIONS='-c statement_timeout=0' for one command"
            )
        return "somebody cancelled the statement; rerun the command"
    if isinstance(error, sqlstate.LockNotAvailable):
        return "another session holds the lock; rerun the command, or raise lock_timeout"
    if is_connection_failure(error):
        return "the connection was lost; rerun the command, what was committed is kept"
    return None


def is_connection_failure(error: psycopg.Error) -> bool:
    """Whether an error means that the session has ended, by the server or on the way to it."""
    if isinstance(error, _SESSION_ENDED):
        return True
    return isinstance(error, psycopg.OperationalError) and error.sqlstate is None


_SESSION_ENDED = (
    sqlstate.AdminShutdown,
    sqlstate.CrashShutdown,
    sqlstate.CannotConnectNow,
    sqlstate.ConnectionException,
    sqlstate.IdleInTransactionSessionTimeout,
    sqlstate.IdleSessionTimeout,
    sqlstate.TransactionTimeout,
)
_USAGE = (
    sqlstate.InvalidParameterValue,
    sqlstate.InvalidName,
    sqlstate.ReservedName,
    sqlstate.DuplicateTable,
    sqlstate.StringDataLengthMismatch,
    sqlstate.ForeignKeyViolation,
)

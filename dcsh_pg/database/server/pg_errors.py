"""PostgreSQL's errors as those of :mod:`dcsh_pg.errors`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as sqlstate
from psycopg.conninfo import conninfo_to_dict

from dcsh_pg.errors import DcshError, NotFound, ServerError, UsageError


@contextmanager
def sql_errors() -> Iterator[None]:
    """Raises errors of PostgreSQL and of ``dcsh`` functions as those of :mod:`dcsh_pg.errors`."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(error) from error
    except UnicodeEncodeError as error:  # of the arguments
        raise UsageError(
            f"{error.object[:80]!a} is not valid text",
            hint="its bytes are not UTF-8; check the locale of the terminal or script",
        ) from error


def translated(error: psycopg.Error) -> DcshError:
    """An error of PostgreSQL as one of :mod:`dcsh_pg.errors`, with the server's message and hint."""
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
    """The hint for an error that is caused neither by the data nor by the request."""
    if isinstance(error, sqlstate.QueryCanceled):
        if "statement timeout" in str(error):
            return (
                "raise or disable the limit: ALTER ROLE ... SET statement_timeout = 0, or "
                "PGOPTIONS='-c statement_timeout=0' for one command"
            )
        return "another session cancelled the statement; rerun the command"
    if isinstance(error, sqlstate.LockNotAvailable):
        return "another session holds the lock; rerun the command, or raise lock_timeout"
    if is_connection_failure(error):
        return "the connection was lost; rerun the command, committed work is kept"
    return None


def is_connection_failure(error: psycopg.Error) -> bool:
    """Whether an error means that the session ended, by the server or on the way to it."""
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


def unreachable(conninfo: str, error: psycopg.OperationalError) -> ServerError:
    """The error for a connection that was refused."""
    asked = conninfo_to_dict(conninfo)
    host = asked.get("host") or os.environ.get("PGHOST") or "the local socket"
    port = asked.get("port") or os.environ.get("PGPORT") or "5432"
    where = f"service {asked['service']}" if asked.get("service") else f"{host}, port {port}"
    reason = str(error).strip().splitlines()[0].rpartition(" failed: ")[2].strip()
    return ServerError(
        f"cannot open PostgreSQL at {where}: {reason}",
        hint=next(
            (hint for words, hint in _REFUSALS.items() if words in reason),
            "check that the server runs, and check host, port, database, user and password "
            "(--dsn, or PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD)",
        ),
    )


_CROWDED = "the server runs; close other connections and try again, or raise max_connections"
_REFUSALS = {
    "too many clients": _CROWDED,
    "too many connections": _CROWDED,
    "remaining connection slots": _CROWDED,
    "no more connections allowed": _CROWDED,
    "unsupported startup parameter": "PgBouncer refuses it: omit PGOPTIONS and options=, or add the "
    "parameter to its ignore_startup_parameters",
    "the database system is": "the server runs; try again when it is ready",
    "server requested": "another program may have taken the server's port, so no password was sent; "
    "check which server listens there",
}
"""Hint by a part of the message, in the server's default language: libpq does not report the SQLSTATE
of a refused connection."""

"""Queries that return exactly one row, or one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.sql import SQL, Composed

from dcsh_pg.database.server.pg_errors import sql_errors

T = TypeVar("T")
Query = str | SQL | Composed
Parameters = Sequence[Any] | Mapping[str, Any] | None


def one_row(
    conn: psycopg.Connection, query: Query, parameters: Parameters = None
) -> tuple[Any, ...]:
    """Runs a query that always returns a row, and returns the first.

    Raises:
        LookupError: there is none.
        DcshError: the server refuses the query; see :func:`sql_errors`.
    """
    with sql_errors():
        row = conn.execute(query, parameters).fetchone()
    if row is None:
        raise LookupError(f"no row from: {query!r}")
    return row


def scalar(
    conn: psycopg.Connection, kind: type[T], query: Query, parameters: Parameters = None
) -> T:
    """Runs a query that always returns a row, and returns its first value, a ``kind``.

    Raises:
        LookupError, DcshError: as :func:`one_row`.
        TypeError: the value is NULL or of another type.
    """
    value = one_row(conn, query, parameters)[0]
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__}, not {kind.__name__}, from: {query!r}")
    return value

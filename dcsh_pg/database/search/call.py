"""Calls of the SQL functions of ``dcsh`` with named arguments; the one place that knows their types."""

from __future__ import annotations

from collections.abc import Collection

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from shapely.geometry.base import BaseGeometry

from dcsh_pg.database.archives import spatial
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.errors import UsageError

_TYPES = {
    "archive": "text",
    "code": "bit varying",
    "area": "dcsh.area",
    "region": "dcsh.area",
    "since": "timestamptz",
    "until": "timestamptz",
    "max_distance": "integer",
    "scenes": "bigint[]",
    "k": "integer",
    "refine": "real[]",
    "most": "bigint",
    "radius": "integer",
    "id": "bigint",
    "likes": "bigint[]",
    "unlikes": "bigint[]",
    "rule": "text",
    "min_share": "double precision",
    "min_overlap": "double precision",
    "cell": "double precision",
    "every": "text",
    "zoom": "integer",
}


def call(function: str, **arguments: object) -> sql.Composed:
    """SQL that calls a function of schema ``dcsh``, or of the schema before a dot; an argument that is
    None keeps its default."""
    given = [
        sql.SQL("{} => {}").format(sql.Identifier(name), _expression(name, value))
        for name, value in arguments.items()
        if value is not None
    ]
    name = sql.Identifier(*(function if "." in function else f"dcsh.{function}").split("."))
    return sql.SQL("{}({})").format(name, sql.SQL(", ").join(given))


def _expression(name: str, value: object) -> sql.Composable:
    if isinstance(value, sql.Composable):
        return value
    literal = sql.Literal(value)
    return sql.SQL("{}::" + _TYPES[name]).format(literal) if name in _TYPES else literal


def filter_arguments(
    conn: psycopg.Connection, archive_name: str, filter: Filter, *, without: Collection[str] = ()
) -> dict[str, object]:
    """A filter as named arguments of a SQL function.

    Args:
        without: fields of the filter that the function does not have.

    Raises:
        UsageError: the filter has one of these, or its area cannot be searched.
    """
    for name in without:
        if getattr(filter, name) is not None:
            raise UsageError(f"{name} does not apply here", hint=f"leave out {name}")
    return {
        "area": area_of(conn, filter.area),
        "since": filter.since,
        "until": filter.until,
        "max_distance": filter.max_distance,
        "scenes": _scenes(archive_name, filter),
    }


def _scenes(archive_name: str, filter: Filter) -> sql.Composable | None:
    """The scenes that meet every condition on scenes, as an array; None without a condition."""
    conditions: list[sql.Composable] = []
    if filter.scenes is not None:
        ids = sql.Literal(list(filter.scenes))
        conditions.append(sql.SQL("SELECT unnest({}::bigint[])").format(ids))
    for function, condition in (("scenes_where", filter.where), ("scenes_in_stac", filter.stac)):
        if condition is not None:
            found = call(function, archive=archive_name, filter=Jsonb(dict(condition)))
            conditions.append(sql.SQL("SELECT {}").format(found))
    if not conditions:
        return None
    return sql.SQL("ARRAY({})").format(sql.SQL(" INTERSECT ").join(conditions))


def area_of(conn: psycopg.Connection, area: BaseGeometry | None) -> str | None:
    """An area as this database takes it.

    Raises:
        UsageError: as :func:`dcsh_pg.database.archives.spatial.area_text`.
    """
    return None if area is None else spatial.area_text(area, spatial.layer_of(conn))

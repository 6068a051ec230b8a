"""The whole archive compared with a query: by place, and by distance and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from dcsh_pg import codes
from dcsh_pg.database.search.call import area_of, call, filter_arguments
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.period import Every
from dcsh_pg.database.search.query import ChipQuery, CodeQuery, ExamplesQuery, Query, Rule
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row, scalar
from dcsh_pg.errors import NotFound

MOST_OF_REGION = 100
"""Most chips of a region that others are compared with: the first of those that cover it."""


@dataclass(frozen=True)
class Examples:
    """What the chips of an archive are compared with.

    Attributes:
        likes: packed codes, at least one, in the order of their chips' ids.
        unlikes: packed codes, likewise.
        rule: distance to several codes.
    """

    likes: tuple[bytes, ...]
    unlikes: tuple[bytes, ...] = ()
    rule: Rule = "min"


@dataclass(frozen=True)
class SurfaceCell:
    """A cell of Web Mercator that has chips.

    Attributes:
        x, y: its number from the west and from the north, of 2^zoom to the width of the Earth.
        distance: least distance of its chips to the query in bits.
        chips: number of chips whose centre it contains.
    """

    x: int
    y: int
    distance: int
    chips: int


@dataclass(frozen=True)
class HistogramBin:
    """Chips at one distance in one period.

    Attributes:
        distance: to the query in bits.
        period: its start in UTC; None for all times, or for chips without one.
        chips: number of chips.
    """

    distance: int
    period: datetime | None
    chips: int


def similarity_surface(
    conn: psycopg.Connection, archive_name: str, query: Query, zoom: int, filter: Filter = Filter()
) -> list[SurfaceCell]:
    """The least distance to a query in each cell of a grid: ``dcsh.similarity_surface``.

    Raises:
        NotFound: no such archive or chip, or no chip covers the region.
        UsageError: ``zoom`` is out of 0 to 24, or the filter cannot be applied.
    """
    rows = _compare(conn, "similarity_surface", archive_name, query, filter, zoom=zoom)
    return [SurfaceCell(*row) for row in rows]


def distance_histogram(
    conn: psycopg.Connection,
    archive_name: str,
    query: Query,
    filter: Filter = Filter(),
    *,
    every: Every | None = None,
) -> list[HistogramBin]:
    """How many chips have each distance to a query, in each period: ``dcsh.distance_histogram``.

    Raises:
        NotFound: no such archive or chip, or no chip covers the region.
        UsageError: no such period, or the filter cannot be applied.
    """
    rows = _compare(conn, "distance_histogram", archive_name, query, filter, every=every)
    return [HistogramBin(*row) for row in rows]


def _compare(
    conn: psycopg.Connection,
    function: str,
    archive_name: str,
    query: Query,
    filter: Filter,
    **arguments: object,
) -> list[tuple[Any, ...]]:
    conditions = filter_arguments(conn, archive_name, filter, without=["max_distance"])
    examples = examples_of(conn, archive_name, query)
    with sql_errors():
        return conn.execute(
            sql.SQL("SELECT * FROM {}").format(
                call(
                    function,
                    archive=archive_name,
                    codes=_codes(examples.likes),
                    unlikes=_codes(examples.unlikes),
                    rule=examples.rule,
                    **arguments,
                    **conditions,
                )
            )
        ).fetchall()


def _codes(packed: Sequence[bytes]) -> sql.Composable:
    texts = [codes.to_text(np.frombuffer(code, np.uint8)) for code in packed]
    return sql.SQL("{}::bit varying[]").format(sql.Literal(texts))


def examples_of(conn: psycopg.Connection, archive_name: str, query: Query) -> Examples:
    """The codes that a query compares the chips of an archive with.

    Raises:
        NotFound: no such archive or chip, or no chip covers the region.
    """

    if isinstance(query, CodeQuery):
        return Examples((query.code,))
    if isinstance(query, ChipQuery):
        return Examples(_packed(conn, archive_name, [query.chip]))
    if isinstance(query, ExamplesQuery):
        likes, unlikes = (_packed(conn, archive_name, ids) for ids in (query.likes, query.unlikes))
        return Examples(likes, unlikes, query.rule)
    region = call(
        "dcsh_private.covering",
        archive=archive_name,
        region=area_of(conn, query.region),
        min_share=query.min_share,
    )
    (covering,) = one_row(conn, sql.SQL("SELECT {}").format(region))
    if covering is None:
        raise NotFound(
            f"no chip of archive '{archive_name}' covers the region",
            hint="longitude comes first; 'dcsh-pg archive show' shows the archive's extent",
        )
    return Examples(_packed(conn, archive_name, covering[:MOST_OF_REGION]), rule=query.rule)


def _packed(conn: psycopg.Connection, archive_name: str, ids: Sequence[int]) -> tuple[bytes, ...]:
    """The packed codes of chips by id, each chip once."""
    codes_of = "dcsh_private.example_codes(%s, %s::bigint[])"
    return tuple(
        scalar(
            conn,
            list,
            f"SELECT ARRAY(SELECT substr(varbit_send(code), 5) FROM unnest({codes_of}) code)",
            [archive_name, list(ids)],
        )
    )

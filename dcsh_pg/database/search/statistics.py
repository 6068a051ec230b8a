"""Statistics of an archive: how its codes use their bits, and where and when it has chips."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from dcsh_pg import codes
from dcsh_pg.database.archives import spatial
from dcsh_pg.database.search.call import call, filter_arguments
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.period import Every
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row


@dataclass(frozen=True)
class CodeStatistics:
    """An archive's codes in one row.

    Attributes:
        chips: number of chips.
        distinct_codes: number of different codes.
        most_frequent: chips that have the most frequent code.
        code_entropy: entropy of the codes' frequencies in bits: log2(chips) where all differ; None
            for an empty archive.
        bits: K, the length of a code.
        bit_entropy: mean of the bits' own entropies, 0 to 1; None for an empty archive.
        constant_bits: number of bits that are the same in all chips.
    """

    chips: int
    distinct_codes: int
    most_frequent: int
    code_entropy: float | None
    bits: int
    bit_entropy: float | None
    constant_bits: int


@dataclass(frozen=True)
class BitStatistics:
    """How the codes use a bit.

    Attributes:
        bit_number: counted from 0, most significant first, as ``dcsh_pg.codes.unpack`` does.
        ones: chips where it is 1.
        share: share of the chips where it is 1; None for an empty archive.
        entropy: in bits, 1 where it is balanced, 0 where it is constant; None likewise.
    """

    bit_number: int
    ones: int
    share: float | None
    entropy: float | None


@dataclass(frozen=True)
class FrequentCode:
    """A code and the chips that have it.

    Attributes:
        code: packed, K/8 bytes.
        chips: number of chips with this code.
        share: their share of all chips.
        scenes: number of their scenes.
        first_id: smallest id of these chips.
        valid_fraction: mean share of their pixels that are valid.
    """

    code: bytes
    chips: int
    share: float
    scenes: int
    first_id: int
    valid_fraction: float


@dataclass(frozen=True)
class CoverageCell:
    """Chips whose centres lie in a cell, in a period.

    Attributes:
        id: number of the row, from 1, by (period, south, west).
        period: its start in UTC; None for all times, or for chips without one.
        chips: number of chips.
        scenes: number of their scenes.
        first_acquired, last_acquired: times of the first and the last chip, or None.
        valid_fraction: mean share of valid pixels.
        footprint: the cell, a GeoJSON geometry in longitude and latitude; None for chips without
            footprint.
    """

    id: int
    period: datetime | None
    chips: int
    scenes: int
    first_acquired: datetime | None
    last_acquired: datetime | None
    valid_fraction: float
    footprint: dict[str, Any] | None


def code_statistics(conn: psycopg.Connection, archive_name: str) -> CodeStatistics:
    """``dcsh.code_statistics``."""
    row = one_row(
        conn,
        """
        SELECT chips, distinct_codes, most_frequent, code_entropy, bits, bit_entropy,
               constant_bits
        FROM dcsh.code_statistics(%s)
        """,
        [archive_name],
    )
    return CodeStatistics(*row)


def bit_statistics(conn: psycopg.Connection, archive_name: str) -> list[BitStatistics]:
    """Every bit of an archive's codes, in order: ``dcsh.bit_statistics``."""
    with sql_errors():
        rows = conn.execute(
            """
            SELECT bit_number, ones, share, entropy FROM dcsh.bit_statistics(%s)
            ORDER BY bit_number
            """,
            [archive_name],
        ).fetchall()
    return [BitStatistics(*row) for row in rows]


def pair_distances(
    conn: psycopg.Connection, archive_name: str, sample: int = 256
) -> dict[int, int]:
    """Distance in bits -> number of pairs at it, of a sample of chips: ``dcsh.pair_distances``.

    Raises:
        UsageError: ``sample`` is out of its range.
    """
    with sql_errors():
        return dict(
            conn.execute(
                "SELECT distance, pairs FROM dcsh.pair_distances(%s, %s::integer)",
                [archive_name, sample],
            ).fetchall()
        )


def pair_shares(conn: psycopg.Connection, archive_name: str) -> list[float]:
    """The shares of random pairs of chips that are at most 0, 1, 2 ... K bits apart, as ``dcsh.pair_share``
    gives them; empty for an archive of fewer than two chips."""
    (shares,) = one_row(conn, "SELECT dcsh_private.pair_shares(%s)", [archive_name])
    return list(shares or ())


def frequent_codes(
    conn: psycopg.Connection, archive_name: str, most: int = 10
) -> list[FrequentCode]:
    """The ``most`` most frequent codes, by (-chips, first_id): ``dcsh.frequent_codes``.

    Raises:
        UsageError: ``most`` is not positive.
    """
    with sql_errors():
        rows = conn.execute(
            """
            SELECT code::text, chips, share, scenes, first_id, valid_fraction
            FROM dcsh.frequent_codes(%s, %s::integer)
            ORDER BY chips DESC, first_id
            """,
            [archive_name, most],
        ).fetchall()
    return [FrequentCode(codes.from_text(code).tobytes(), *rest) for code, *rest in rows]


def coverage(
    conn: psycopg.Connection,
    archive_name: str,
    filter: Filter = Filter(),
    *,
    cell: float | None = None,
    every: Every | None = None,
) -> list[CoverageCell]:
    """Where and when an archive has chips, on a grid: ``dcsh.coverage``.

    Args:
        cell: side of a cell in degrees; None takes a round size, at most 50 cells a side.
        every: also a row for each such period; None takes all times as one.

    Raises:
        UsageError: the cell is not a size, or there is no such period.
    """
    conditions = filter_arguments(conn, archive_name, filter, without=["max_distance"])
    cells = call("coverage", archive=archive_name, cell=cell, every=every, **conditions)
    with sql_errors():
        rows = conn.execute(
            sql.SQL(
                """
                SELECT id, period, chips, scene_count, first_acquired, last_acquired, valid_fraction,
                       geom::text
                FROM {}
                ORDER BY id
                """
            ).format(cells)
        ).fetchall()
    return [CoverageCell(*[*row, spatial.footprint(geom)]) for *row, geom in rows]

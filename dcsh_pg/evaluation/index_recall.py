"""Recall of the approximate index that an archive has, measured by the search itself and stored.

It raises the effort (ef_search, probes) until the target is reached, and later searches use that
effort.  An answer that comes short counts as nothing found: searches repeat it exactly.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psycopg
from pgvector import Bit

from dcsh_pg import codes
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.approximation import Approximation, approximation
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row, scalar
from dcsh_pg.errors import UsageError
from dcsh_pg.evaluation.recall import EF_SEARCH, WARM_UP, Point, efforts_to_try
from dcsh_pg.progress import SILENT, Progress

TARGET = 0.99
"""Recall that is good enough, unless another is asked for."""

QUERIES = 300
"""More than for an index on a copy, because an index misses all neighbours of few queries rather than
few neighbours of all."""

BATCH_ROWS = 100_000
EXACT_QUERIES = 5
"""Enough to compare with, because each takes as long as all others."""


@dataclass(frozen=True)
class IndexRecall:
    """Recall of an archive's approximate index.

    Attributes:
        archive: its name.
        index, method, option: as in :class:`~dcsh_pg.database.archives.approximation.Approximation`.
        rows, bits, k, queries: chips, K, neighbours and queries.
        points: what was measured, by rising effort.
        chosen: the one whose effort searches use.
        scan: the exact search, for fewer queries.
        stored: False if this role does not own the archive.
    """

    archive: str
    index: str
    method: str
    option: str
    rows: int
    bits: int
    k: int
    queries: int
    points: list[Point]
    chosen: Point
    scan: Point
    stored: bool

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON carries it."""
        return asdict(self)


def measure_index(
    conn: psycopg.Connection,
    archive: str,
    *,
    k: int = 10,
    queries: int = QUERIES,
    target: float = TARGET,
    efforts: Sequence[int] | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> IndexRecall:
    """Measures the approximate index of an archive on a sample of its own codes, and stores the least
    effort with at least ``target`` recall, or else the best, with its recall.

    Args:
        efforts: values of ef_search or probes to try; default: rising ones.

    Raises:
        NotFound: no such archive.
        UsageError: its searches use no approximate index, or an argument is out of range.
    """
    if k < 1 or queries < 1 or not 0 < target <= 1:
        raise UsageError("k and queries must be positive, the target above 0 and at most 1")
    record = registry.get_archive(conn, archive)
    index = approximation(conn, archive)
    if index is None:
        raise UsageError(
            f"searches of archive '{archive}' use no approximate index",
            hint=f"create one: dcsh-pg archive index {archive} --approximate ivfflat; or measure "
            "one on a copy: --index ivfflat",
        )
    tried = _efforts(conn, index, k, efforts)
    with sql_errors(), conn.transaction():
        asked = _sample(conn, archive, record.chips, queries, seed)
        rows, reach = _reach(conn, archive, asked, k, progress)
        k = min(k, rows)
        points: list[Point] = []
        progress.start(f"searching by {index.method}", len(tried))
        for effort in tried:
            points.append(_ask(conn, archive, asked, reach, k, effort))
            progress.advance()
            if points[-1].recall >= target:
                break
        scan = _ask(conn, archive, asked[:EXACT_QUERIES], reach[:EXACT_QUERIES], k, None)
        chosen = next(
            (p for p in points if p.recall >= target), max(points, key=lambda p: p.recall)
        )
        stored = _store(conn, index, chosen, k, len(asked), rows)
    return IndexRecall(
        archive, index.index, index.method, index.option, rows, record.bits, k, len(asked), points,
        chosen, scan, stored,
    )  # fmt: skip


def _efforts(
    conn: psycopg.Connection, index: Approximation, k: int, given: Sequence[int] | None
) -> Sequence[int]:
    most = EF_SEARCH[-1]
    if index.method == "ivfflat":
        most = scalar(
            conn,
            int,
            "SELECT coalesce(substring(reloptions::text, 'lists=([0-9]+)')::integer, 100) "
            "FROM pg_class WHERE oid = %s::regclass",
            [index.index],
        )
    return efforts_to_try(index.method, index.option, most, k, given)


def _sample(
    conn: psycopg.Connection, archive: str, chips: int, queries: int, seed: int
) -> np.ndarray:
    """Codes of random chips, packed, uint8 (Q, K/8)."""
    random = np.random.default_rng(seed)
    last = scalar(conn, int, "SELECT last_chip_id FROM dcsh.archive WHERE name = %s", [archive])
    draws = min(last, 10 * queries * max(1, last // max(chips, 1)), 1_000_000)
    ids = random.choice(last, draws, replace=False) + 1
    rows = conn.execute(
        f"SELECT bit_send(c.code) FROM unnest(%s::bigint[]) WITH ORDINALITY d(id, n) "
        f'JOIN dcsh."{archive}" c ON c.id = d.id ORDER BY d.n LIMIT %s',
        [ids.tolist(), queries],
        binary=True,
    )
    return _unpacked([row[0] for row in rows])


def _unpacked(sent: list[bytes]) -> np.ndarray:
    """What bit_send gives, without the length before each code."""
    return np.frombuffer(b"".join(sent), np.uint8).reshape(len(sent), -1)[:, 4:]


def _reach(
    conn: psycopg.Connection, archive: str, asked: np.ndarray, k: int, progress: Progress
) -> tuple[int, np.ndarray]:
    """The number of codes, and the distance of the k-th nearest to each of ``asked`` (Q,)."""
    counts = np.zeros((len(asked), 8 * asked.shape[1] + 1), np.int64)
    progress.start("comparing all codes")
    with conn.cursor("codes", binary=True) as cursor:
        cursor.execute(f'SELECT bit_send(code) FROM dcsh."{archive}"')
        while rows := cursor.fetchmany(BATCH_ROWS):
            batch = _unpacked([row[0] for row in rows])
            for n, query in enumerate(asked):
                distances = codes.hamming(batch, query)[:, 0]
                counts[n] += np.bincount(distances, minlength=counts.shape[1])
            progress.advance(len(batch))
    total = int(counts[0].sum())
    return total, np.argmax(np.cumsum(counts, axis=1) >= min(k, total), axis=1)


def _ask(
    conn: psycopg.Connection,
    archive: str,
    asked: np.ndarray,
    reach: np.ndarray,
    k: int,
    effort: int | None,
) -> Point:
    """Searches for the k nearest of each of ``asked`` (Q, K/8); ``effort`` None searches exactly."""
    query = (
        "SELECT array_agg(distance) FROM dcsh.similar(%(archive)s, %(code)s, %(k)s)"
        if effort is None
        else "SELECT distances FROM dcsh_private.search_approximately(%(archive)s, %(code)s, %(k)s, NULL, "
        "%(effort)s)"
    )
    bits = [Bit(code.tobytes()) for code in asked]
    warm_up = bits[: WARM_UP if effort else 1]
    shares, seconds = [], []
    for code, farthest in zip([*warm_up, *bits], [*reach[: len(warm_up)], *reach], strict=True):
        began = time.perf_counter()
        [distances] = one_row(
            conn, query, {"archive": archive, "code": code, "k": k, "effort": effort}
        )
        seconds.append(time.perf_counter() - began)
        shares.append(sum(distance <= farthest for distance in distances or ()) / k)
    median, p95 = 1000 * np.quantile(seconds[len(warm_up) :], [0.5, 0.95])
    return Point(effort, float(np.mean(shares[len(warm_up) :])), float(median), float(p95))


def _store(
    conn: psycopg.Connection, index: Approximation, point: Point, k: int, queries: int, rows: int
) -> bool:
    owns = scalar(
        conn,
        bool,
        "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = %s::regclass",
        [index.index],
    )
    if owns:
        conn.execute(
            "SELECT dcsh_private.store_recall(%s::regclass, %s, %s, %s, %s, %s)",
            [index.index, point.setting, point.recall, k, queries, rows],
        )
    return owns

"""Recall of an index on codes, its latency, size and time to build.

Many items have the same distance, and an index may return any of them: a returned item counts as found
if it is as near as the k-th of the exact answer.

    recall@k = |{returned items with distance <= d_k}| / k,   d_k the k-th smallest distance

The index is built on a copy of the archive's ids and codes, in a transaction that is rolled back:
the archive stays as it is, also when the measurement is killed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import psycopg
from pgvector import Bit

from dcsh_pg import codes
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.approximate_index import build_plan, default_lists, set_memory
from dcsh_pg.database.archives.plan import walks_an_index
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row, scalar
from dcsh_pg.database.server.search_path import SAFE
from dcsh_pg.errors import InputError, ServerError, UsageError
from dcsh_pg.progress import SILENT, Progress

Index = Literal["hnsw", "ivfflat", "hamming"]

OPTION: dict[Index, str | None] = {
    "hnsw": "hnsw.ef_search",
    "ivfflat": "ivfflat.probes",
    "hamming": None,
}
"""The server's option that trades time for recall."""

WARM_UP = 3
"""Queries that are asked before time is taken."""

EF_SEARCH = (10, 20, 40, 80, 160, 320, 640, 1000)
"""Swept for hnsw, from k on; fewer would find fewer than k."""


@dataclass(frozen=True)
class Point:
    """One setting of the index.

    Attributes:
        setting: value of ef_search or probes, or None where the index has none.
        recall: mean tie-aware recall@k over the queries, 0 to 1.
        median_ms, p95_ms: latency of a query, seen by the client.
    """

    setting: int | None
    recall: float
    median_ms: float
    p95_ms: float


@dataclass(frozen=True)
class RecallReport:
    """What an index finds at each of its settings.

    Attributes:
        archive, index: names.
        rows: codes in the archive.
        bits: K.
        k: neighbours asked for; less than asked where the archive holds less.
        queries: how many were asked, each a code of the archive.
        option: the server's option that is swept, or None.
        build_seconds, index_bytes: what the index costs.
        points: the settings, in the order swept.
        scan: the sequential scan on the same rows, to compare with.
    """

    archive: str
    index: Index
    rows: int
    bits: int
    k: int
    queries: int
    option: str | None
    build_seconds: float
    index_bytes: int
    points: list[Point]
    scan: Point

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON carries it."""
        return asdict(self)


def measure_recall(
    conn: psycopg.Connection,
    archive: str,
    index: Index,
    *,
    k: int = 10,
    queries: int = 100,
    settings: Sequence[int] | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> RecallReport:
    """Builds ``index`` on a copy of an archive's codes and asks it for the ``k`` nearest of sampled
    codes, at each of ``settings`` (ef_search of hnsw, probes of ivfflat; None sweeps a range).

    Raises:
        NotFound: no such archive.
        InputError: the archive is empty.
        UsageError: k or queries not positive; settings for an index that has none, or out of range.
        ServerError: the database lacks the access method, or its server does not use the index.
    """
    if k < 1 or queries < 1:
        raise UsageError(
            f"--{'k' if k < 1 else 'queries'} {min(k, queries)}: must be positive",
            hint="write --k 10 --queries 100 for example",
        )
    record = registry.get_archive(conn, archive)
    _check_offered(conn, index)
    if not record.chips:
        raise InputError(f"archive '{archive}' is empty", hint="'dcsh-pg ingest' fills it")
    with sql_errors(), conn.transaction(force_rollback=True):
        trial = _Trial(conn, archive)
        database = trial.codes()
        k, queries = min(k, len(database)), min(queries, len(database))
        swept = _swept(index, len(database), k, settings)
        asked = database[np.random.default_rng(seed).choice(len(database), queries, replace=False)]
        progress.start("comparing all codes", queries)
        reach = np.empty(queries, np.int32)
        for n, query in enumerate(asked):
            reach[n] = np.partition(codes.hamming(database, query)[:, 0], k - 1)[k - 1]
            progress.advance()
        scan = trial.ask(asked, reach, k)
        progress.start(f"building {index} on {len(database)} codes")
        build_seconds, index_bytes = trial.build(index)
        progress.start(f"asking {index}", len(swept))
        points = []
        for setting in swept:
            points.append(trial.ask(asked, reach, k, OPTION[index], setting))
            progress.advance()
    return RecallReport(
        archive, index, len(database), record.bits, k, queries, OPTION[index], build_seconds,
        index_bytes, points, scan,
    )  # fmt: skip


class _Trial:
    """A copy of an archive's ids and codes for the time of a transaction."""

    def __init__(self, conn: psycopg.Connection, archive: str):
        self.conn = conn
        conn.execute(SAFE.format("LOCAL "))
        # pgvector may be in any schema.
        self.vector = scalar(
            conn,
            str,
            "SELECT quote_ident(n.nspname) FROM pg_extension e "
            "JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'",
        )
        self.table = f'dcsh."recall {conn.info.backend_pid}"'
        conn.execute(
            f'CREATE UNLOGGED TABLE {self.table} AS SELECT id, code FROM dcsh."{archive}" ORDER BY id'
        )
        conn.execute(f"ANALYZE {self.table}")

    def codes(self) -> np.ndarray:
        """All of them, packed, uint8 (N, K/8)."""
        rows = self.conn.execute(f"SELECT bit_send(code) FROM {self.table}", binary=True)
        sent = [row[0] for row in rows]
        return np.frombuffer(b"".join(sent), np.uint8).reshape(len(sent), -1)[:, 4:]

    def build(self, index: Index) -> tuple[float, int]:
        """Makes the index, as 'archive index' does, and sees that it is used from now on; seconds and
        bytes."""
        how = "hamming (code)"
        if index != "hamming":
            rows, bits = one_row(self.conn, f"SELECT count(*), max(length(code)) FROM {self.table}")
            plan = build_plan(index, rows, bits)
            options = ", ".join(f"{name} = {value}" for name, value in plan.parameters.items())
            how = f"{index} (code {self.vector}.bit_hamming_ops) WITH ({options})"
            set_memory(self.conn, plan.memory_bytes, "LOCAL ")
        began = time.perf_counter()
        self.conn.execute(f"CREATE INDEX recall_index ON {self.table} USING {how}")
        seconds = time.perf_counter() - began
        size = scalar(
            self.conn,
            int,
            "SELECT pg_relation_size(indexrelid) FROM pg_index WHERE indrelid = %s::regclass",
            [self.table],
        )
        self.conn.execute("SET LOCAL enable_seqscan = off")
        [explained] = one_row(
            self.conn,
            f"EXPLAIN (FORMAT JSON) SELECT id FROM {self.table} "
            f"ORDER BY code OPERATOR({self.vector}.<~>) (SELECT code FROM {self.table} LIMIT 1) LIMIT 1",
        )
        if not walks_an_index(explained):
            raise ServerError(
                f"the server does not use {index} for ORDER BY code <~> query LIMIT k"
            )
        return seconds, size

    def ask(
        self,
        asked: np.ndarray,
        reach: np.ndarray,
        k: int,
        option: str | None = None,
        setting: int | None = None,
    ) -> Point:
        """Asks for the k nearest of each of ``asked`` (Q, K/8), whose ``reach`` (Q,) is the
        distance of the k-th."""
        if option is not None:
            self.conn.execute(f"SET LOCAL {option} = {setting:d}")
        bits = [Bit(query.tobytes()) for query in asked]
        distance = f"code OPERATOR({self.vector}.<~>) %(q)s"
        query = f"SELECT {distance} FROM {self.table} ORDER BY {distance} LIMIT {k:d}"
        for warm in bits[:WARM_UP]:
            self.conn.execute(query, {"q": warm}).fetchall()
        found, seconds = [], []
        for one, farthest in zip(bits, reach, strict=True):
            began = time.perf_counter()
            rows = self.conn.execute(query, {"q": one}).fetchall()
            seconds.append(time.perf_counter() - began)
            found.append(sum(distance <= farthest for (distance,) in rows) / k)
        median, p95 = 1000 * np.quantile(seconds, [0.5, 0.95])
        return Point(setting, float(np.mean(found)), float(median), float(p95))


def _swept(index: Index, rows: int, k: int, settings: Sequence[int] | None) -> Sequence[int | None]:
    option = OPTION[index]
    if option is None:
        if settings is not None:
            raise UsageError(
                f"--sweep: {index} is exact and has nothing to sweep", hint="leave out --sweep"
            )
        return (None,)
    most = EF_SEARCH[-1] if index == "hnsw" else default_lists(rows)
    return efforts_to_try(index, option, most, k, settings)


def efforts_to_try(
    index: str, option: str, most: int, k: int, given: Sequence[int] | None
) -> Sequence[int]:
    """Values of ef_search or probes: the given ones, or rising ones up to ``most``.

    Raises:
        UsageError: a given one is out of range.
    """
    if given is None:
        doubled = [*(2**n for n in range((most - 1).bit_length())), most]
        return [ef for ef in EF_SEARCH if ef >= k] or [most] if index == "hnsw" else doubled
    if bad := [value for value in given if not 1 <= value <= most]:
        raise UsageError(
            f"--sweep {bad[0]}: {option} is from 1 to {most} here",
            hint=f"write --sweep 1,{most} for example",
        )
    return given


def _check_offered(conn: psycopg.Connection, index: Index) -> None:
    if not conn.execute("SELECT FROM pg_am WHERE amname = %s", [index]).fetchall():
        raise ServerError(
            f"the database has no access method '{index}'",
            hint="'dcsh-pg native install' builds it, 'dcsh-pg db upgrade' makes it known"
            if index == "hamming"
            else "as administrator: ALTER EXTENSION vector UPDATE",
        )

"""Latency and correctness of nearest-code queries."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dcsh_pg import codes as packed

WARM_UP = 10
"""Warm-up queries; enough for PostgreSQL to settle on a plan."""

SECONDS = 20
"""Time limit for one way, in seconds; enough queries for a percentile run anyway."""

FEWEST = 20

Answer = Callable[[bytes], list[int]]
"""A packed code -> rows of the array of codes, nearest first."""


def brute_force(codes: np.ndarray, query: bytes, k: int) -> np.ndarray:
    """Rows of the k nearest by (distance, row), on one thread; codes of a multiple of 64 bits."""
    distances = np.bitwise_count(codes.view(np.uint64) ^ np.frombuffer(query, np.uint64)).sum(
        axis=1
    )
    k = min(k, len(codes))
    near = np.flatnonzero(distances <= np.partition(distances, k - 1)[k - 1])
    return near[np.lexsort((near, distances[near]))][:k]


@dataclass(frozen=True)
class Measured:
    """Measurements of one way.

    Attributes:
        way: its name.
        queries: number of queries, each run twice.
        median_ms, p95_ms: latency seen by the caller.
        recall: mean tie-aware recall@k: rows as near as the k-th of the exact answer, over k.
        fewest: smallest number of rows in an answer.
        exact: share of the answers equal to brute force, ordered by (distance, row).
        repeated: share of the queries with the same answer the second time.
    """

    way: str
    queries: int
    median_ms: float
    p95_ms: float
    recall: float
    fewest: int
    exact: float
    repeated: float

    def quality(self) -> str:
        """Cells of a Markdown table: recall, rows, as brute force, same again."""
        return (
            f"{_share(self.recall)} | {self.fewest} | {_share(self.exact)} "
            f"| {_share(self.repeated)}"
        )


QUALITY = "recall@k | fewest rows | as brute force | same again"


def _share(share: float) -> str:
    """1 only if it is exactly 1."""
    return "1" if share == 1 else f"{min(share, 0.999):.3f}"


class Truth:
    """Queries and their exact answers among the rows that satisfy a condition.

    Args:
        codes: packed, uint8 (N, K/8).
        queries: packed codes.
        k: number of neighbours.
        meets: bool (N,), rows that satisfy the condition; None for all.
    """

    def __init__(
        self, codes: np.ndarray, queries: list[bytes], k: int, meets: np.ndarray | None = None
    ):
        self.codes, self.queries = codes, queries
        self.meets = np.ones(len(codes), bool) if meets is None else meets
        rows = np.flatnonzero(self.meets)
        if len(rows) < k:
            raise ValueError(f"k = {k}, but only {len(rows)} rows satisfy the condition")
        chosen = codes if meets is None else np.ascontiguousarray(codes[rows])
        self.exact = [rows[brute_force(chosen, query, k)].tolist() for query in queries]

    def recall(self, number: int, answer: list[int]) -> float:
        exact = self.exact[number]
        query = np.frombuffer(self.queries[number], np.uint8)
        reach = packed.hamming(self.codes[exact[-1:]], query)[0, 0]
        rows = np.unique(np.asarray(answer, np.int64))
        near = packed.hamming(self.codes[rows], query)[:, 0] <= reach
        return np.count_nonzero(near & self.meets[rows]) / len(exact)

    def measure(self, way: str, answer: Answer) -> Measured:
        """Runs all queries twice; a slow way gets fewer."""
        for query in self.queries[:WARM_UP]:
            answer(query)
        first, seconds = self._ask(answer, self.queries)
        again, seconds_again = self._ask(answer, self.queries[: len(first)])
        both = [*enumerate(first), *enumerate(again)]
        median, p95 = 1000 * np.quantile(seconds + seconds_again, [0.5, 0.95])
        return Measured(
            way=way,
            queries=len(first),
            median_ms=float(median),
            p95_ms=float(p95),
            recall=float(np.mean([self.recall(number, rows) for number, rows in both])),
            fewest=min(len(rows) for _, rows in both),
            exact=float(np.mean([rows == self.exact[number] for number, rows in both])),
            repeated=float(np.mean([a == b for a, b in zip(first, again, strict=False)])),
        )

    def _ask(self, answer: Answer, queries: list[bytes]) -> tuple[list[list[int]], list[float]]:
        answers, seconds = [], []
        stop = time.perf_counter() + SECONDS / 2
        for query in queries:
            began = time.perf_counter()
            answers.append(answer(query))
            ended = time.perf_counter()
            seconds.append(ended - began)
            if ended > stop and len(answers) >= FEWEST:
                break
        return answers, seconds

"""Retrieval metrics of binary codes, honest about ties.

K bits give only K + 1 Hamming distances, so most items of a database are tied with others, and the
order among them is no merit of the codes.  The metrics here are expectations over all orders of
the tied items.  They need no ranking: how many items and how many relevant items lie at each
distance from the query is enough, so a query costs K + 1 numbers however large the database is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dcsh_pg import codes
from dcsh_pg.errors import UsageError
from dcsh_pg.progress import SILENT, Progress

BLOCK_ITEMS = 1 << 22
"""Distances that are held at a time; about 100 MB with all that is made of them."""


@dataclass(frozen=True)
class Comparison:
    """What is ranked for whom.

    Attributes:
        queries: packed codes uint8 (Q, K/8).
        query_classes: int (Q,); a database item of the same class is relevant.
        database: packed codes uint8 (N, K/8).
        database_classes: int (N,).
        leave_one_out: query i is database item i, which is not ranked for it.
    """

    queries: np.ndarray
    query_classes: np.ndarray
    database: np.ndarray
    database_classes: np.ndarray
    leave_one_out: bool = False

    @property
    def bits(self) -> int:
        """K."""
        return 8 * int(self.database.shape[1])

    @property
    def candidates(self) -> int:
        """Items that are ranked for one query."""
        return len(self.database) - self.leave_one_out


@dataclass(frozen=True)
class Histograms:
    """Items and relevant items at each Hamming distance from each query.

    Attributes:
        items: int64 (Q, K+1).
        relevant: int64 (Q, K+1), not more than ``items``.
    """

    items: np.ndarray
    relevant: np.ndarray

    def __getitem__(self, queries: np.ndarray) -> Histograms:
        return Histograms(self.items[queries], self.relevant[queries])

    @property
    def relevant_in_database(self) -> np.ndarray:
        """N+ of each query, int64 (Q,)."""
        total: np.ndarray = self.relevant.sum(axis=1)
        return total


@dataclass(frozen=True)
class RadiusCurve:
    """Means over the queries when all items within a Hamming radius are returned.

    Attributes:
        radius: int (K+1,), 0 to K.
        precision: float (K+1,); a query that gets nothing counts as 0.
        recall: float (K+1,).
        retrieved: items returned, float (K+1,).
        answered: share of the queries that get anything, float (K+1,).
    """

    radius: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    retrieved: np.ndarray
    answered: np.ndarray


@dataclass(frozen=True)
class RankCurve:
    """Means over the queries when the nearest n items are returned, expected under ties.

    Attributes:
        n: int (P,), rising.
        precision, recall: float (P,).
    """

    n: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def distance_histograms(comparison: Comparison, *, progress: Progress = SILENT) -> Histograms:
    """Counts items and relevant items at each distance from each query."""
    bins = comparison.bits + 2
    counts = np.empty((len(comparison.queries), bins, 2), np.int64)
    progress.start("comparing codes", total=len(comparison.queries))
    for rows, distances, relevant in _blocks(comparison):
        first_bin = 2 * bins * np.arange(len(distances))[:, None]
        flat = np.bincount(
            (first_bin + 2 * distances + relevant).ravel(), minlength=2 * bins * len(distances)
        )
        counts[rows] = flat.reshape(-1, bins, 2)
        progress.advance(len(distances))
    counts = counts[:, :-1]
    return Histograms(counts.sum(axis=2), counts[:, :, 1].copy())


def average_precision(histograms: Histograms) -> np.ndarray:
    """Average precision of each query over the whole database, the mean over all orders of ties.

    F. McSherry and M. Najork, "Computing information retrieval performance measures efficiently in
    the presence of tied scores", ECIR 2008.  For the items at one distance, n of them and r
    relevant, with c items and R relevant ones nearer::

        AP = 1/N+ sum_distances sum_{k=1..n} r/n (R + 1 + (k-1) (r-1)/(n-1)) / (c + k)

    The inner sum is evaluated in closed form with harmonic numbers.

    Returns:
        float64 (Q,), NaN where the database holds nothing relevant.
    """
    n, r = histograms.items, histograms.relevant
    c, nearer_relevant = n.cumsum(axis=1) - n, r.cumsum(axis=1) - r
    harmonic = np.zeros(n.sum(axis=1).max(initial=0) + 1)
    np.cumsum(1 / np.arange(1, len(harmonic)), out=harmonic[1:])
    step = (r - 1) / np.maximum(n - 1, 1)
    inner = (nearer_relevant + 1 - step * (c + 1)) * (harmonic[c + n] - harmonic[c]) + step * n
    total = (r / np.maximum(n, 1) * inner).sum(axis=1)
    return _divide(total, histograms.relevant_in_database)


def shuffled_average_precision(
    comparison: Comparison, *, seed: int = 0, progress: Progress = SILENT
) -> np.ndarray:
    """Average precision of each query for one order of the ties: a random one, fixed by ``seed``.

    The database is shuffled once and sorted by distance with a stable sort.  This is what the code
    behind published figures approximates, given only to compare with them.

    Returns:
        float64 (Q,), NaN where the database holds nothing relevant.
    """
    order = np.random.default_rng(seed).permutation(len(comparison.database))
    result = np.empty(len(comparison.queries))
    progress.start("ranking", total=len(comparison.queries))
    for rows, distances, relevant in _blocks(comparison):
        ranking = np.argsort(distances[:, order], axis=1, kind="stable")
        ranked = np.take_along_axis(relevant[:, order], ranking, axis=1)
        precision = ranked.cumsum(axis=1) / np.arange(1, ranked.shape[1] + 1)
        result[rows] = _divide((precision * ranked).sum(axis=1), ranked.sum(axis=1))
        progress.advance(len(distances))
    return result


def relevant_at(histograms: Histograms, n: int) -> np.ndarray:
    """Expected number of relevant items among the nearest ``n``, float64 (Q,).

    Of the distance at which the n-th item lies, the relevant share of its items counts.

    Raises:
        UsageError: ``n`` is not from 1 to the number of items ranked.
    """
    upto = histograms.items.cumsum(axis=1)
    if len(upto) and not 1 <= n <= upto[:, -1].min():
        raise UsageError(
            f"precision at {n} cannot be had from a ranking of {upto[:, -1].min()} items"
        )
    cut = (upto < n).sum(axis=1)[:, None]

    def at_cut(counts: np.ndarray) -> np.ndarray:
        return np.take_along_axis(counts, cut, axis=1)[:, 0]

    items, relevant = at_cut(histograms.items), at_cut(histograms.relevant)
    nearer = at_cut(upto) - items
    nearer_relevant = at_cut(histograms.relevant.cumsum(axis=1)) - relevant
    expected: np.ndarray = nearer_relevant + (n - nearer) * relevant / items
    return expected


def curve_by_radius(histograms: Histograms) -> RadiusCurve:
    """Precision and recall for every Hamming radius; no ties arise here."""
    retrieved = histograms.items.cumsum(axis=1)
    found = histograms.relevant.cumsum(axis=1)
    return RadiusCurve(
        radius=np.arange(retrieved.shape[1]),
        precision=(found / np.maximum(retrieved, 1)).mean(axis=0),
        recall=(found / histograms.relevant_in_database[:, None]).mean(axis=0),
        retrieved=retrieved.mean(axis=0),
        answered=(retrieved > 0).mean(axis=0),
    )


def curve_by_rank(histograms: Histograms, n: np.ndarray) -> RankCurve:
    """Expected precision and recall among the nearest n, for each n of an array.

    Raises:
        UsageError: an n that is not from 1 to the number of items ranked.
    """
    found = np.stack([relevant_at(histograms, int(one)) for one in n], axis=1)
    return RankCurve(
        n=np.asarray(n),
        precision=(found / n).mean(axis=0),
        recall=(found / histograms.relevant_in_database[:, None]).mean(axis=0),
    )


def _blocks(comparison: Comparison) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Rows of queries with their distances int16 (B, N) and relevance bool (B, N).

    The item that is left out stands beyond all others, at distance K + 1, and is not relevant.
    """
    queries, database = _signs(comparison.queries), _signs(comparison.database)
    size = max(1, BLOCK_ITEMS // max(1, len(database)))
    for start in range(0, len(queries), size):
        rows = slice(start, min(start + size, len(queries)))
        distances = ((comparison.bits - queries[rows] @ database.T) / 2).astype(np.int16)
        relevant = comparison.query_classes[rows, None] == comparison.database_classes
        if comparison.leave_one_out:
            own = (np.arange(len(distances)), np.arange(rows.start, rows.stop))
            distances[own] = comparison.bits + 1
            relevant[own] = False
        yield rows, distances, relevant


def _signs(packed: np.ndarray) -> np.ndarray:
    """Codes as -1 and +1, whose inner product is K - 2 distance, exact in float32."""
    bits: np.ndarray = codes.unpack(packed).astype(np.float32)
    return 2 * bits - 1


def _divide(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    share: np.ndarray = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return share

"""How well codes find images of the same class: the papers' protocol, as one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dcsh_pg import codes
from dcsh_pg.errors import InputError, ModelError, UsageError
from dcsh_pg.evaluation.metrics import (
    Comparison,
    Histograms,
    RadiusCurve,
    RankCurve,
    average_precision,
    curve_by_radius,
    curve_by_rank,
    distance_histograms,
    relevant_at,
    shuffled_average_precision,
)
from dcsh_pg.progress import SILENT, Progress

PRECISION_AT = (1, 5, 10, 20, 50, 100)
CURVE_POINTS = 200
"""Ranks of the rank curve, spaced evenly on a logarithmic scale."""


@dataclass(frozen=True)
class ClassScore:
    """One class as a query.

    Attributes:
        mean_average_precision: over the queries of the class.
        queries: how many those are.
    """

    mean_average_precision: float
    queries: int


@dataclass(frozen=True)
class Report:
    """How well codes find images of the same class.  All shares are from 0 to 1.

    Attributes:
        bits: K.
        database: items in the database.
        queries: queries that count: those with a relevant item in the database.
        queries_without_relevant: queries that were left out, because nothing could be found.
        leave_one_out: each database item queried all the others.
        mean_average_precision: mAP@all, expected over all orders of ties.
        standard_error: of that mean over the queries, or None of a single query.
        shuffled: mAP@all for one random order of the ties, to compare with papers.
        chance: mAP@all of codes that are all equal.
        precision_at: n -> precision among the nearest n, expected over all orders of ties.
        by_radius, by_rank: precision and recall.
        by_class: class -> its score, in the order of the names.
        ones: share of 1 in each bit over the database, float64 (K,).
        distinct_codes: different codes in the database.
    """

    bits: int
    database: int
    queries: int
    queries_without_relevant: int
    leave_one_out: bool
    mean_average_precision: float
    standard_error: float | None
    shuffled: float
    chance: float
    precision_at: dict[int, float]
    by_radius: RadiusCurve
    by_rank: RankCurve
    by_class: dict[str, ClassScore]
    ones: np.ndarray
    distinct_codes: int

    @property
    def bit_entropy(self) -> float:
        """Mean entropy of a bit, 0 for constant bits to 1 for balanced ones."""
        share = np.stack([self.ones, 1 - self.ones])
        logs = np.log2(share, out=np.zeros_like(share), where=share > 0)
        return float(-(share * logs).sum(axis=0).mean())

    @property
    def constant_bits(self) -> int:
        """Bits that are the same for the whole database."""
        return int(((self.ones == 0) | (self.ones == 1)).sum())

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON carries it."""
        properties = {"bit_entropy": self.bit_entropy, "constant_bits": self.constant_bits}
        return asdict(self, dict_factory=_plain) | properties


def _plain(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields
    }


def evaluate(
    database_codes: np.ndarray,
    database_labels: Sequence[Any],
    query_codes: np.ndarray | None = None,
    query_labels: Sequence[Any] | None = None,
    *,
    precision_at: Sequence[int] = PRECISION_AT,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Report:
    """Ranks the database for each query by Hamming distance and measures how well classes are found.

    Args:
        database_codes: packed, uint8 (N, K/8).
        database_labels: the class of each, N of them; compared as text.
        query_codes: packed, uint8 (Q, K/8).  Without them each database item queries all others,
            itself left out.
        query_labels: the class of each query.
        precision_at: ranks of precision@n; those beyond the database are left out.
        seed: of the random order of ties behind ``Report.shuffled``.

    Raises:
        UsageError: numbers of codes and labels differ, or a rank below 1.
        ModelError: queries and database have codes of different lengths.
        InputError: no query has a relevant item in the database.
    """
    comparison, classes = _compare(database_codes, database_labels, query_codes, query_labels)
    if any(n < 1 for n in precision_at):
        raise UsageError(
            f"--precision-at {min(precision_at)}: ranks count from 1",
            hint="write --precision-at 1,10,100 for example",
        )
    histograms = distance_histograms(comparison, progress=progress)
    counts = histograms.relevant_in_database > 0
    if not counts.any():
        raise InputError(
            "no query has an item of its class in the database",
            hint="check that queries and database carry the same classes",
        )
    shuffled = shuffled_average_precision(comparison, seed=seed, progress=progress)[counts]
    histograms, query_classes = histograms[counts], comparison.query_classes[counts]
    scores = average_precision(histograms)
    ranks = np.unique(np.geomspace(1, comparison.candidates, CURVE_POINTS).round().astype(int))
    return Report(
        bits=comparison.bits,
        database=len(comparison.database),
        queries=len(scores),
        queries_without_relevant=int((~counts).sum()),
        leave_one_out=comparison.leave_one_out,
        mean_average_precision=float(scores.mean()),
        standard_error=(
            float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else None
        ),
        shuffled=float(shuffled.mean()),
        chance=float(average_precision(_without_distances(histograms)).mean()),
        precision_at={
            n: float(relevant_at(histograms, n).mean() / n)
            for n in sorted(set(precision_at))
            if n <= comparison.candidates
        },
        by_radius=curve_by_radius(histograms),
        by_rank=curve_by_rank(histograms, ranks),
        by_class={
            str(classes[one]): ClassScore(
                float(scores[query_classes == one].mean()), int((query_classes == one).sum())
            )
            for one in np.unique(query_classes)
        },
        ones=codes.unpack(comparison.database).mean(axis=0),
        distinct_codes=len(np.unique(comparison.database, axis=0)),
    )


def _compare(
    database_codes: np.ndarray,
    database_labels: Sequence[Any],
    query_codes: np.ndarray | None,
    query_labels: Sequence[Any] | None,
) -> tuple[Comparison, np.ndarray]:
    """Checks the input and numbers the classes; returns their names as well."""
    leave_one_out = query_codes is None
    if query_codes is None:
        query_codes, query_labels = database_codes, database_labels
    for what, packed, labels in (
        ("database", database_codes, database_labels),
        ("queries", query_codes, query_labels),
    ):
        if labels is None or len(packed) != len(labels):
            count = "no" if labels is None else len(labels)
            raise UsageError(f"{what}: {len(packed)} codes, but {count} labels")
    assert query_labels is not None  # checked above
    if query_codes.shape[1] != database_codes.shape[1]:
        raise ModelError(
            f"queries of {8 * query_codes.shape[1]} bits cannot be compared with a database of "
            f"{8 * database_codes.shape[1]}",
            hint="hash both with the same model",
        )
    names = [str(label) for label in (*database_labels, *query_labels)]
    classes, numbers = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    comparison = Comparison(
        queries=query_codes,
        query_classes=numbers[len(database_labels) :],
        database=database_codes,
        database_classes=numbers[: len(database_labels)],
        leave_one_out=leave_one_out,
    )
    return comparison, classes


def _without_distances(histograms: Histograms) -> Histograms:
    """The same counts with everything at one distance, as if all codes were equal."""
    return Histograms(
        histograms.items.sum(axis=1, keepdims=True), histograms.relevant.sum(axis=1, keepdims=True)
    )

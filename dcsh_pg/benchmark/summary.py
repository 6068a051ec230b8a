"""Means over the splits of a benchmark, and their intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from dcsh_pg.benchmark import store
from dcsh_pg.benchmark.rows import COSINE, Row

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over splits, in the unit of what was averaged.

    Attributes:
        value: the mean.
        half_width: of its 95 % interval, or None of a single split.
        splits: how many.
    """

    value: float
    half_width: float | None
    splits: int

    @classmethod
    def of(cls, values: Iterable[float], database_share: float) -> Mean:
        """Mean and interval of one value for each split.

        Splits share images, so their values are dependent, and Student's t of the mean is too
        narrow. The variance is corrected as by Nadeau and Bengio (Machine Learning 52, 2003,
        section 3): 1 / splits + queries / database in place of 1 / splits.
        """
        array = np.asarray(list(values), float)
        if len(array) < 2:
            return cls(float(array.mean()), None, len(array))
        overlap = (1 - database_share) / database_share
        error = array.std(ddof=1) * np.sqrt(1 / len(array) + overlap)
        return cls(
            float(array.mean()),
            float(error * stats.t.ppf((1 + CONFIDENCE) / 2, len(array) - 1)),
            len(array),
        )


@dataclass(frozen=True, eq=False)
class Summary:
    """One benchmark folder.

    Attributes:
        facts: of benchmark.json.
        rows: in their order.
        cells: (row name, bits, seed) -> cell.
    """

    facts: dict[str, Any]
    rows: list[Row]
    cells: dict[tuple[str, int, int], dict[str, Any]]

    @property
    def bits(self) -> list[int]:
        bits: list[int] = self.facts["bits"]
        return bits

    def found(self, row: Row, bits: int) -> dict[int, dict[str, Any]]:
        """seed -> cell, of the cells that exist."""
        if row.method == COSINE:
            bits = self.bits[0]
        return {
            seed: self.cells[row.name, bits, seed]
            for seed in range(row.repeats(self.facts["splits"]))
            if (row.name, bits, seed) in self.cells
        }

    def errors(self, row: Row, bits: int) -> list[str]:
        """Errors, split by split."""
        return [c["error"] for c in self.found(row, bits).values() if "error" in c]

    def score(self, row: Row, bits: int) -> Mean | None:
        """mAP@all in %, or None where a split is missing or failed."""
        scores = self._scores(row, bits)
        complete = len(scores) == row.repeats(self.facts["splits"])
        return self._mean(scores.values()) if complete else None

    def difference(self, row: Row, base: Row, bits: int) -> Mean | None:
        """mAP@all of a row minus that of another in points, paired over the splits."""
        ours, theirs = self._scores(row, bits), self._scores(base, bits)
        shared = sorted(ours.keys() & theirs.keys())
        return self._mean(ours[seed] - theirs[seed] for seed in shared) if shared else None

    def orientations(self, row: Row) -> int:
        """Number of orientations that the row's codes average; 1 where no cell has it."""
        cells = (cell for (name, _, _), cell in self.cells.items() if name == row.name)
        options = next(cells, {}).get("identity", {}).get("options", {})
        return int(options.get("orientations", 1))

    def curve(self, row: Row, bits: int) -> dict[str, np.ndarray] | None:
        """Precision and recall of the nearest n, mean over the splits."""
        curves = [c["by_rank"] for c in self.found(row, bits).values() if "by_rank" in c]
        if not curves:
            return None
        return {name: np.mean([curve[name] for curve in curves], axis=0) for name in curves[0]}

    def seconds(self, row: Row, bits: int, step: str) -> float | None:
        """Median over the splits of the time of a step."""
        times = [c["seconds"][step] for c in self.found(row, bits).values() if "seconds" in c]
        return float(np.median(times)) if times else None

    def _mean(self, values: Iterable[float]) -> Mean:
        return Mean.of(values, self.facts["database_share"])

    def _scores(self, row: Row, bits: int) -> dict[int, float]:
        return {
            seed: 100 * cell["mean_average_precision"]
            for seed, cell in self.found(row, bits).items()
            if "mean_average_precision" in cell
        }


def read(folder: Path) -> Summary:
    """Summarises the folder of a benchmark, complete or not.

    Raises:
        InputError: it does not contain a benchmark.
    """
    facts = store.read_facts(folder)
    rows = [Row(**{**row, "bits": tuple(row["bits"])}) for row in facts["rows"]]
    keys = [
        (row.name, bits, seed)
        for row in rows
        for bits in row.lengths(facts["bits"])
        for seed in range(facts["splits"])
    ]
    found = {key: store.read_cell(folder, *key) for key in keys}
    return Summary(facts, rows, {key: cell for key, cell in found.items() if cell is not None})

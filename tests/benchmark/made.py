"""Benchmark folders with scores made up by the test, as a benchmark would leave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dcsh_pg.benchmark import store
from dcsh_pg.benchmark.rows import Row

FACTS = {
    "dataset": "ucmd",
    "title": "UC Merced Land Use",
    "images": 2100,
    "side": 256,
    "classes": 21,
    "digest": "0",
    "database_share": 0.8,
    "splits": 3,
    "bits": [16, 32],
    "precision": "float32",
    "jobs": 1,
    "command": "dcsh-pg benchmark --dataset ucmd",
    "host": {"processor": "P", "cores": 2, "gpu": None, "versions": {"numpy": "1"}},
    "created": "2022-01-01T00:00:00+00:00",
}


def cell(
    row: str, bits: int, seed: int, score: float | str, orientations: int = 1
) -> dict[str, Any]:
    """A cell with that mAP from 0 to 1, or with that error."""
    identity = {"options": {"orientations": orientations}}
    key = {"row": row, "bits": bits, "seed": seed, "identity": identity}
    if isinstance(score, str):
        return {**key, "error": score}
    curve = {"n": [1, 1680], "precision": [score, 0.05], "recall": [score / 80, 1.0]}
    seconds = {"fit": 1.0 + seed + score, "hash": 0.5}
    return {**key, "mean_average_precision": score, "by_rank": curve, "seconds": seconds}


def folder(
    path: Path,
    rows: Sequence[Row],
    scores: Mapping[tuple[str, int], Sequence[float | str]],
    **facts: Any,
) -> Path:
    """Writes scores, one for each split, of (row, bits)."""
    with store.alone(path):
        store.write_facts(path, {**FACTS, **facts, "rows": [row.to_dict() for row in rows]})
        orientations = {row.name: row.options.get("orientations", 1) for row in rows}
        for (row, bits), values in scores.items():
            for seed, score in enumerate(values):
                store.write_cell(path, cell(row, bits, seed, score, orientations.get(row, 1)))
    return path

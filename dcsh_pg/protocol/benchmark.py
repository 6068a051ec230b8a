"""All cells of a benchmark, kept one by one so that a run that was killed goes on."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from dcsh_pg.files import replacing
from dcsh_pg.learning.encoders import Encoder, load_weights
from dcsh_pg.learning.features import FeatureCache, Precision
from dcsh_pg.learning.images import digest
from dcsh_pg.learning.randomness import seeded
from dcsh_pg.progress import SILENT, Progress
from dcsh_pg.protocol.cell import Setting, identity, measure
from dcsh_pg.protocol.datasets import Dataset
from dcsh_pg.protocol.host import describe_host
from dcsh_pg.protocol.rows import COSINE, Row
from dcsh_pg.protocol.splits import stratified

CELLS, FACTS, IMAGES = "cells", "benchmark.json", "images.npy"


@dataclass(frozen=True)
class Plan:
    """What to measure and how.

    Attributes:
        rows, bits: the table.
        splits: number of random splits; the seeds are 0, 1, ...
        share: share of each class that is the database.
        precision: of features.
        cache: folder of features, or None.
        device: 'cpu' or 'cuda'.
        jobs: processes side by side; they change the times and nothing else.
    """

    rows: Sequence[Row]
    bits: Sequence[int] = (16, 32, 48, 64)
    splits: int = 5
    share: float = 0.8
    precision: Precision = "float32"
    cache: Path | None = None
    device: str = "cpu"
    jobs: int = 1

    def cells(self) -> list[tuple[Row, int, int]]:
        """(row, bits, seed) of every cell; the features themselves have one for all bits."""
        return [
            (row, bits, seed)
            for row in self.rows
            for seed in range(self.splits)
            for bits in (self.bits[:1] if row.method == COSINE else row.bits or self.bits)
        ]


def run(
    dataset: Dataset, plan: Plan, out: Path, *, command: str = "", progress: Progress = SILENT
) -> list[dict[str, Any]]:
    """Measures every cell that ``out`` does not hold yet.

    ``out`` gets benchmark.json with the facts of the run and cells/, one JSON file each.

    Returns:
        the newly measured cells.

    Raises:
        OutputError: ``out`` cannot be written.
        InputError, ModelError: an encoder's weights cannot be read.
    """
    (out / CELLS).mkdir(parents=True, exist_ok=True)
    np.save(out / IMAGES, dataset.images)
    facts = {
        "dataset": dataset.name,
        "title": dataset.title,
        "images": len(dataset.images),
        "side": dataset.images.shape[1],
        "classes": dataset.classes,
        "digest": digest(dataset.images),
        "database_share": plan.share,
        "splits": plan.splits,
        "bits": list(plan.bits),
        "precision": plan.precision,
        "jobs": plan.jobs,
        "rows": [row.to_dict() for row in plan.rows],
        "command": command,
        "host": describe_host(plan.device),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    with replacing(out / FACTS) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n")
    work = _Work(out, dataset.labels, facts["digest"], plan)
    cells = plan.cells()
    progress.start("cells", len(cells))
    measured: list[dict[str, Any]] = []

    def done(cell: dict[str, Any] | None) -> None:
        if cell is not None:
            measured.append(cell)
            score = cell.get("mean_average_precision")
            told = cell["error"] if score is None else f"{100 * score:.2f}"
            progress.note(f"{cell['row']}, {cell['bits']} bits, split {cell['seed']}: {told}")
        progress.advance()

    try:
        if plan.jobs == 1:
            for cell in cells:
                done(work(*cell))
        else:
            context = multiprocessing.get_context("spawn")
            threads = max(1, (os.cpu_count() or 1) // plan.jobs)
            with ProcessPoolExecutor(
                plan.jobs, context, initializer=_begin, initargs=(work, threads)
            ) as pool:
                for future in as_completed([pool.submit(_measure, *cell) for cell in cells]):
                    done(future.result())
    finally:
        (out / IMAGES).unlink(missing_ok=True)
    return measured


class _Work:
    """Measures cells of one benchmark; each process has one."""

    def __init__(self, out: Path, labels: tuple[str, ...], dataset: str, plan: Plan):
        self.out, self.labels, self.dataset, self.plan = out, labels, dataset, plan
        self.setting: Setting | None = None
        self.encoders: dict[tuple[str, str], Encoder] = {}

    def __call__(self, row: Row, bits: int, seed: int) -> dict[str, Any] | None:
        """The cell, or None where it is already there."""
        encoder = self._encoder(row)
        recipe = identity(
            row,
            encoder,
            bits=bits,
            seed=seed,
            dataset=self.dataset,
            precision=self.plan.precision,
        )
        path = self.out / CELLS / f"{cell_name(row.name, bits, seed)}.json"
        if path.exists() and json.loads(path.read_text())["identity"] == _plain(recipe):
            return None
        split = stratified(self.labels, self.plan.share, seed)
        cell = {
            "row": row.name,
            "bits": bits,
            "seed": seed,
            "identity": recipe,
            **measure(self._setting(), split, row, encoder, bits=bits, seed=seed),
        }
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(cell) + "\n")
        return cell

    def _setting(self) -> Setting:
        if self.setting is None:
            self.setting = Setting(
                np.load(self.out / IMAGES, mmap_mode="r"),
                self.labels,
                FeatureCache(self.plan.cache, precision=self.plan.precision, memory=True),
                self.plan.device,
            )
        return self.setting

    def _encoder(self, row: Row) -> Encoder:
        """A fresh copy each time where training would change it."""
        key = row.encoder, row.weights
        if key in self.encoders and row.freeze:
            return self.encoders[key]
        with seeded(0):
            encoder = Encoder(row.encoder)
        load_weights(encoder, row.weights)
        if row.freeze:
            self.encoders[key] = encoder
        return encoder


_work: _Work | None = None


def _begin(work: _Work, threads: int) -> None:
    global _work
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    _work = work


def _measure(row: Row, bits: int, seed: int) -> dict[str, Any] | None:
    return _work(row, bits, seed)


def _plain(recipe: dict[str, Any]) -> dict[str, Any]:
    """As it comes back from JSON."""
    return json.loads(json.dumps(recipe))


def cell_name(row: str, bits: int, seed: int) -> str:
    """File name of a cell, without its ending: readable, and different for different rows."""
    readable = re.sub(r"[^a-z0-9]+", "-", row.lower()).strip("-")
    return f"{readable}-{hashlib.sha256(row.encode()).hexdigest()[:6]}-{bits}-{seed}"

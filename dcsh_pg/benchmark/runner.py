"""All cells of a benchmark, stored one by one so that a killed run can be resumed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from multiprocessing.context import SpawnContext
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from dcsh_pg.benchmark import store
from dcsh_pg.benchmark.cell import Setting, identity, measure
from dcsh_pg.benchmark.datasets import Dataset
from dcsh_pg.benchmark.host import describe_host
from dcsh_pg.benchmark.rows import Row
from dcsh_pg.benchmark.splits import Split, stratified
from dcsh_pg.codes import check_bits
from dcsh_pg.errors import DcshError, InputError, OutputError, UsageError
from dcsh_pg.learning.data.computing import EXACT, Exact
from dcsh_pg.learning.data.feature_cache import FeatureCache
from dcsh_pg.learning.data.features import encoder_digest
from dcsh_pg.learning.data.training_set import digest
from dcsh_pg.learning.encoders import Encoder, load_weights
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.progress import SILENT, Notes, Progress

IMAGES = "images.npy"
ONE_OF_A_FOLDER = {"digest": "--dataset", "database_share": "--share", "precision": "--precision"}
"""Facts that all cells of a folder share, and their options."""


@dataclass(frozen=True)
class Plan:
    """Cells to measure, and how.

    Attributes:
        rows, bits: the table.
        splits: number of random splits; the seeds are 0, 1, ...
        share: share of each class that is the database.
        precision: of features.
        cache: folder of features, or None.
        device: 'cpu' or 'cuda'.
        jobs: parallel processes; only times depend on them.
    """

    rows: Sequence[Row]
    bits: Sequence[int] = (16, 32, 48, 64)
    splits: int = 5
    share: float = 0.8
    precision: Exact = "float32"
    cache: Path | None = None
    device: str = "cpu"
    jobs: int = 1

    def check(self) -> None:
        """Raises UsageError where a value is out of range; the message names the option."""
        for bits in self.bits:
            check_bits(bits)
        if self.precision not in EXACT:
            raise UsageError(
                f"--precision {self.precision} is invalid",
                hint=f"one of: {', '.join(EXACT)}",
            )
        if not 0 < self.share < 1:
            raise UsageError(
                f"--share must be between 0 and 1, not {self.share:g}",
                hint="the papers take 0.8 and 0.5",
            )

    def cells(self) -> list[Cell]:
        """Every cell of the table, split by split, so that a complete split comes early."""
        return [
            Cell(row, bits, seed)
            for seed in range(self.splits)
            for row in self.rows
            if seed < row.repeats(self.splits)
            for bits in row.lengths(self.bits)
        ]


@dataclass(frozen=True)
class Cell:
    """A row at one code length on one split."""

    row: Row
    bits: int
    seed: int


def run(
    dataset: Dataset, plan: Plan, out: Path, *, command: str = "", progress: Progress = SILENT
) -> list[dict[str, Any]]:
    """Measures every cell that ``out`` does not have yet.

    ``out`` gets benchmark.json with the facts of the run, and cells/ with one JSON file each.
    Cells of a row of the same name with other options are replaced.

    Args:
        command: the command line, for the report.

    Returns:
        the newly measured cells.

    Raises:
        UsageError: the plan is invalid, or ``out`` has a benchmark of other images, another share
            or another precision.
        InputError: a class is too small to split.
        InputError, ModelError: an encoder's weights cannot be read.
        OutputError: ``out`` or the cache cannot be written.
    """
    plan.check()
    splits = [stratified(dataset.labels, plan.share, seed) for seed in range(plan.splits)]
    facts = _facts(dataset, plan, command)
    with store.alone(out):
        _check_same(out, facts)
        todo = _missing(plan, out, facts["digest"])
        store.write_facts(out, facts)
        measured: list[dict[str, Any]] = []
        progress.start("cells", len(plan.cells()))
        progress.advance(len(plan.cells()) - len(todo))
        if not todo:
            return measured
        with _kept(dataset.images, out / IMAGES):
            for cell in _measured(_Work(out, dataset.labels, splits, plan), todo, Notes(progress)):
                measured.append(cell)
                score = cell.get("mean_average_precision")
                result = cell["error"] if score is None else f"{100 * score:.2f}"
                progress.note(f"{cell['row']}, {cell['bits']} bits, split {cell['seed']}: {result}")
                progress.advance()
    return measured


def _facts(dataset: Dataset, plan: Plan, command: str) -> dict[str, Any]:
    return {
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


def _check_same(out: Path, facts: dict[str, Any]) -> None:
    try:
        before = store.read_facts(out)
    except InputError:
        return
    for name, option in ONE_OF_A_FOLDER.items():
        if before[name] != facts[name]:
            raise UsageError(
                f"{out} has a benchmark with another {option}",
                hint=f"choose another --out, or give {option} as before",
            )


def _missing(plan: Plan, out: Path, dataset: str) -> list[tuple[Cell, dict[str, Any]]]:
    """Cells to measure, each with its identity; deletes stored ones with another identity."""
    digests: dict[tuple[str, str], str] = {}
    missing = []
    for cell in plan.cells():
        row = cell.row
        key = row.encoder, row.weights
        if key not in digests:
            digests[key] = encoder_digest(_load(row))
        recipe = identity(
            row,
            digests[key],
            bits=cell.bits,
            seed=cell.seed,
            dataset=dataset,
            precision=plan.precision,
        )
        known = store.read_cell(out, row.name, cell.bits, cell.seed)
        if known is None or known["identity"] != recipe:
            missing.append((cell, recipe))
    for cell, _ in missing:
        store.drop_cell(out, cell.row.name, cell.bits, cell.seed)
    return missing


@contextmanager
def _kept(images: np.ndarray, path: Path) -> Iterator[None]:
    """Keeps the images in a file that processes map, for the block."""
    try:
        try:
            np.save(path, images)
        except OSError as error:
            raise OutputError(
                f"cannot keep the images in {path.parent}: {error.strerror or error}",
                hint="choose another --out",
            ) from error
        yield
    finally:
        path.unlink(missing_ok=True)


def _measured(
    work: _Work, todo: Sequence[tuple[Cell, dict[str, Any]]], progress: Progress
) -> Iterator[dict[str, Any]]:
    """Measured cells, in the order of their completion; other processes send only their notes."""
    jobs = work.plan.jobs
    if jobs == 1:
        work.progress = progress
        for cell, recipe in todo:
            yield work(cell, recipe)
        return
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with (
        _shown_here(context, progress) as notes,
        ProcessPoolExecutor(
            jobs, context, initializer=_begin, initargs=(work, threads, notes)
        ) as pool,
    ):
        try:
            for future in as_completed([pool.submit(_measure, *one) for one in todo]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _shown_here(context: SpawnContext, progress: Progress) -> Iterator[SimpleQueue[str | None]]:
    """A queue whose lines are shown as notes, each once: processes estimate the same features."""
    notes: SimpleQueue[str | None] = context.SimpleQueue()
    seen: set[str] = set()

    def show() -> None:
        for line in iter(notes.get, None):
            subject = line.partition(":")[0]
            if subject not in seen:
                progress.note(line)
            seen.add(subject)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield notes
    finally:
        notes.put(None)
        thread.join()


class _Sent(Progress):
    """Sends notes to the process that shows them."""

    def __init__(self, notes: SimpleQueue[str | None]):
        self.notes = notes

    def note(self, text: str) -> None:
        self.notes.put(text)


class _Work:
    """Measures cells of one benchmark; each process has one."""

    def __init__(self, out: Path, labels: tuple[str, ...], splits: Sequence[Split], plan: Plan):
        self.out, self.labels, self.splits, self.plan = out, labels, splits, plan
        self.progress = SILENT
        self.setting: Setting | None = None
        self.encoders: dict[tuple[str, str], Encoder] = {}

    def __call__(self, cell: Cell, recipe: dict[str, Any]) -> dict[str, Any]:
        row, bits, seed = cell.row, cell.bits, cell.seed
        setting, encoder = self._setting(), self._encoder(row)
        found = {
            "row": row.name,
            "bits": bits,
            "seed": seed,
            "identity": recipe,
            **measure(setting, self.splits[seed], row, encoder, bits=bits, seed=seed),
        }
        store.write_cell(self.out, found)
        return found

    def _setting(self) -> Setting:
        if self.setting is None:
            self.setting = Setting(
                np.load(self.out / IMAGES, mmap_mode="r"),
                self.labels,
                FeatureCache(self.plan.cache, precision=self.plan.precision, memory=True),
                self.plan.device,
                self.progress,
            )
        return self.setting

    def _encoder(self, row: Row) -> Encoder:
        """The row's encoder; a new one each time where it is trained."""
        if not row.freeze:
            return _load(row)
        key = row.encoder, row.weights
        if key not in self.encoders:
            self.encoders[key] = _load(row)
        return self.encoders[key]


def _load(row: Row) -> Encoder:
    """The row's encoder; random weights are the same for all cells."""
    try:
        with seeded(0):
            encoder = Encoder(row.encoder)
        load_weights(encoder, row.weights)
    except DcshError as error:
        raise type(error)(f"row {row.name!r}: {error.message}", hint=error.hint) from error
    return encoder


_work: _Work | None = None


def _begin(work: _Work, threads: int, notes: SimpleQueue[str | None]) -> None:
    """Initialises a process; it ends with its parent, even if that is killed."""
    global _work
    work.progress = _Sent(notes)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    _work = work


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _measure(cell: Cell, recipe: dict[str, Any]) -> dict[str, Any]:
    assert _work is not None
    return _work(cell, recipe)

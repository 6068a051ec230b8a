"""The pipeline from scenes to rows.

    describe scenes  ->  read chips      ->  hash batches  ->  rows, a transaction at a time
    (threads, ahead)     (threads, ahead)    (this thread)     (database.load.Loader)

Threads read ahead of the model, never more than a bounded number of chips.  Scenes are stored in
the order in which they were given, each whole or not at all, so a run that was killed and is run
again ends with the rows of one clean run.  A scene that cannot be read is recorded and passed over.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from shapely import Polygon

from dcsh_pg.database.load import Loader
from dcsh_pg.errors import DcshError, InputError, PartialSuccess, ServerError
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.bands import bands_taken, listed
from dcsh_pg.imagery.scene import Chips, Scene, SceneRecord
from dcsh_pg.progress import SILENT, Progress

FLUSH_CHIPS = 20_000
FLUSH_SECONDS = 5.0
"""A transaction is written when this many chips wait, or this much time went by."""

SCENES_UNDERWAY = 8
"""Times the batch size: how many scenes may wait behind one whose batch does not fill up."""


@dataclass
class IngestReport:
    """What a run did.

    Attributes:
        scenes: scenes found in the sources.
        stored: scenes whose chips are now in the archive and were not before.
        known: scenes passed over because their content was there already.
        replaced: scenes among ``stored`` whose URI was known with other content.
        failed: scenes that could not be read, also recorded in ``dcsh.ingest_error``.
        chips: chips stored.
        skipped: chips left out because too few of their pixels are valid.
        bands: how many of the stored scenes gave which bands, '3,2,1', to the model.
        seconds: wall time.
        failures: why, one error for each failed scene.
    """

    scenes: int = 0
    stored: int = 0
    known: int = 0
    replaced: int = 0
    failed: int = 0
    chips: int = 0
    skipped: int = 0
    bands: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    failures: list[DcshError] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """One line for each failed scene."""
        return [f"{e.message} ({e.hint})" if e.hint else e.message for e in self.failures]

    def to_json(self) -> dict:
        """All of it as JSON can carry it, with ``errors`` for ``failures``."""
        told = vars(self) | {"seconds": round(self.seconds, 3), "errors": self.errors}
        del told["failures"]
        return told

    def summary(self) -> str:
        """One line for people."""
        parts = [
            f"{self.stored} of {self.scenes} scenes stored",
            f"{self.chips} chips",
            f"{self.skipped} chips without enough valid pixels left out" if self.skipped else "",
            f"{self.known} were there already" if self.known else "",
            f"{self.replaced} replaced by new content" if self.replaced else "",
            f"{self.failed} failed" if self.failed else "",
            bands_taken(self.bands),
            f"{self.seconds:.1f} s",
        ]
        return ", ".join(part for part in parts if part)

    def raise_for_failures(self) -> None:
        """Raises what the command line must leave with when scenes failed.

        Raises:
            InputError: every scene failed.
            PartialSuccess: some did.
        """
        if not self.failed:
            return
        if self.failed == self.scenes:
            first = self.failures[0]
            many = f"none of {self.scenes} scenes could be ingested; the first: "
            raise InputError((many if self.scenes > 1 else "") + first.message, hint=first.hint)
        raise PartialSuccess(
            f"{self.failed} of {self.scenes} scenes failed, the rest is stored",
            hint="'dcsh-pg archive errors ARCHIVE' lists them; mend them and run the same command again",
        )


@dataclass
class HashedScene:
    """A scene on its way through the pipeline, and what came of it.

    Attributes:
        scene: the scene.
        record: its description, None if that failed.
        codes: packed codes, uint8 arrays (n, K/8), in the order of the windows.
        windows: int32 arrays (n, 4), of the chips that were hashed.
        footprints: polygons of those chips, or None for a scene that has no place.
        valid_fractions: float32 arrays (n,).
        error: what made it fail, or None.
    """

    scene: Scene
    record: SceneRecord | None = None
    error: Exception | None = None
    codes: list[np.ndarray] = field(default_factory=list)
    windows: list[np.ndarray] = field(default_factory=list)
    footprints: list[Polygon] | None = None
    valid_fractions: list[np.ndarray] = field(default_factory=list)
    reads: deque[tuple[int, Future[Chips]]] = field(default_factory=deque, repr=False)
    unhashed: int = 0

    def take(self, chips: Chips) -> None:
        """Keeps what will become rows; the pixels go on to the model and are let go."""
        self.windows.append(chips.windows)
        self.valid_fractions.append(chips.valid_fraction)
        if chips.footprints is not None:
            self.footprints = (self.footprints or []) + list(chips.footprints)
        self.unhashed += len(chips)

    @property
    def is_complete(self) -> bool:
        return not self.reads and not self.unhashed


def hash_scenes(
    scenes: Sequence[Scene],
    hasher: Hasher,
    *,
    known: Collection[str] = (),
    min_valid: float = 0.0,
    batch: int = 64,
    threads: int = 4,
    progress: Progress = SILENT,
) -> Iterator[HashedScene]:
    """Reads and hashes scenes; yields them in their order, each complete or with its ``error``.

    Chips of equal size are gathered into batches across scenes, so that a folder of small pictures
    keeps the model as busy as one large raster.  A scene whose content hash is in ``known`` comes
    back with its record and without codes.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
    batches = _Batches(hasher, batch, progress)
    underway: deque[HashedScene] = deque()
    expected = ExpectedChips(len(scenes))
    asked = 0  # chips asked of the readers and not yet taken
    try:
        for hashed in _described(scenes, pool, ahead=4 * threads):
            underway.append(hashed)
            record = hashed.record
            is_new = record is not None and record.content_hash not in known
            progress.advance(0, total=expected.after(len(record.windows) if is_new else 0))
            for block in _blocks(record.windows, batch) if is_new else ():
                hashed.reads.append((len(block), pool.submit(hashed.scene.read, block)))
                asked += len(block)
                while asked > 2 * threads * batch:
                    oldest = next(scene for scene in underway if scene.reads)
                    asked -= _take_next_block(oldest, batches, min_valid)
            if len(underway) > SCENES_UNDERWAY * batch:
                asked -= _finish(underway[0], batches, min_valid)
            while underway and underway[0].is_complete:
                yield _closed(underway.popleft())
        for hashed in underway:
            while hashed.reads:
                _take_next_block(hashed, batches, min_valid)
        batches.run_all()
        while underway:
            yield _closed(underway.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def ingest(
    scenes: Sequence[Scene],
    hasher: Hasher,
    loader: Loader,
    *,
    min_valid: float,
    batch: int = 64,
    threads: int = 4,
    progress: Progress = SILENT,
) -> IngestReport:
    """Hashes ``scenes`` and stores them through ``loader``; returns what was done.

    Never raises for a scene that cannot be read: that is recorded, counted and passed over.
    """
    stored = loader.known()
    progress.start(f"hashing chips on {'the CPU' if hasher.provider == 'cpu' else 'CUDA'}")
    with closing(
        hash_scenes(
            scenes,
            hasher,
            known=stored.keys(),
            min_valid=min_valid,
            batch=batch,
            threads=threads,
            progress=progress,
        )
    ) as hashed:
        return store_scenes(hashed, loader, stored, scenes=len(scenes), progress=progress)


def store_scenes(
    hashed: Iterable[HashedScene],
    loader: Loader,
    stored: Mapping[str, str],
    *,
    scenes: int,
    progress: Progress = SILENT,
) -> IngestReport:
    """Stores hashed scenes in the order in which they come; returns what was done.

    Args:
        hashed: as :func:`hash_scenes` yields them.
        loader: of the archive.
        stored: the scenes that are there already, :meth:`Loader.known`.
        scenes: how many will come.
    """
    began = flushed = monotonic()
    report = IngestReport(scenes=scenes)
    known, known_uris = set(stored), set(stored.values())
    failed_before = loader.recorded_errors()
    for done in hashed:
        if done.error is not None:
            _record_failure(done, loader, report, progress)
        elif done.record.content_hash in known:
            report.known += 1
            if done.scene.uri in failed_before:
                loader.forget_errors([done.scene.uri])
        else:
            known.add(done.record.content_hash)
            _store(done, loader, report)
            report.replaced += done.record.uri in known_uris
        if loader.waiting >= FLUSH_CHIPS or monotonic() - flushed > FLUSH_SECONDS:
            loader.flush()
            flushed = monotonic()
    loader.flush()
    try:
        loader.finish()
    except ServerError as error:
        progress.note(f"searches will compare every code: {error.message}")
    report.seconds = monotonic() - began
    return report


def _store(done: HashedScene, loader: Loader, report: IngestReport) -> None:
    width = loader.archive.bits // 8
    codes = np.concatenate([np.empty((0, width), np.uint8), *done.codes])
    windows = np.concatenate([np.empty((0, 4), np.int32), *done.windows])
    valid = np.concatenate([np.empty(0, np.float32), *done.valid_fractions])
    skipped = len(done.record.windows) - len(codes)
    loader.add(done.record, codes, windows, done.footprints, valid, skipped)
    report.stored += 1
    if done.record.bands:
        report.bands[listed(done.record.bands)] += 1
    report.chips += len(codes)
    report.skipped += skipped


def _described(
    scenes: Sequence[Scene], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[HashedScene]:
    """Scenes in order with their records, described by threads a bounded number ahead."""
    queue: deque[tuple[Scene, Future[SceneRecord]]] = deque()
    rest = iter(scenes)
    while True:
        while len(queue) < ahead and (scene := next(rest, None)) is not None:
            queue.append((scene, pool.submit(scene.describe)))
        if not queue:
            return
        scene, description = queue.popleft()
        try:
            yield HashedScene(scene, description.result())
        except Exception as error:
            yield HashedScene(scene, error=error)


def _blocks(windows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(windows), size):
        yield windows[start : start + size]


def _take_next_block(hashed: HashedScene, batches: _Batches, min_valid: float) -> int:
    """Hands a scene's next block to the batches; returns how many chips are no longer asked for."""
    size, block = hashed.reads.popleft()
    try:
        chips = block.result()
    except Exception as error:
        hashed.error = error
        for _, rest in hashed.reads:
            rest.cancel()
        size += sum(length for length, _ in hashed.reads)
        hashed.reads.clear()
        return size
    chips = chips.select(chips.valid_fraction >= min_valid)
    if len(chips):
        hashed.take(chips)
        batches.add(hashed, chips.pixels)
    return size


def _finish(hashed: HashedScene, batches: _Batches, min_valid: float) -> int:
    """Brings one scene to its end though its batch is not full; returns as _take_next_block."""
    released = 0
    while hashed.reads:
        released += _take_next_block(hashed, batches, min_valid)
    if hashed.unhashed:
        batches.run_until_complete(hashed)
    return released


def _closed(hashed: HashedScene) -> HashedScene:
    hashed.scene.close()
    return hashed


def _record_failure(
    done: HashedScene, loader: Loader, report: IngestReport, progress: Progress
) -> None:
    error = done.error
    if not isinstance(error, DcshError):
        error = InputError(f"{done.scene.uri}: {error}")
    loader.record_error(done.scene.uri, error.message, error.hint)
    report.failed += 1
    report.failures.append(error)
    if report.scenes > 1:
        progress.note(f"passed over: {report.errors[-1]}")


class ExpectedChips:
    """Guesses the chips of a run from the scenes described so far."""

    def __init__(self, scenes: int):
        self.scenes, self.described, self.chips = scenes, 0, 0

    def after(self, chips: int) -> int:
        self.described += 1
        self.chips += chips
        return round(self.chips * self.scenes / self.described)


class _Batches:
    """Gathers chips of equal size into batches, hashes them, hands the codes back in order.

    All chips of a scene have one size and each size has one queue, so the codes of a scene come
    back in the order of its chips.
    """

    def __init__(self, hasher: Hasher, size: int, progress: Progress):
        self.hasher, self.size, self.progress = hasher, size, progress
        self.queues: dict[tuple[int, ...], deque[tuple[HashedScene, np.ndarray]]] = {}

    def add(self, hashed: HashedScene, pixels: np.ndarray) -> None:
        queue = self.queues.setdefault(pixels.shape[1:], deque())
        queue.append((hashed, pixels))
        while sum(len(part) for _, part in queue) >= self.size:
            self._run(queue)

    def run_all(self) -> None:
        for queue in self.queues.values():
            while queue:
                self._run(queue)

    def run_until_complete(self, hashed: HashedScene) -> None:
        queue = next(q for q in self.queues.values() if any(scene is hashed for scene, _ in q))
        while hashed.unhashed:
            self._run(queue)

    def _run(self, queue: deque[tuple[HashedScene, np.ndarray]]) -> None:
        parts: list[tuple[HashedScene, np.ndarray]] = []
        room = self.size
        while queue and room:
            hashed, pixels = queue.popleft()
            if len(pixels) > room:
                queue.appendleft((hashed, pixels[room:]))
                pixels = pixels[:room]
            parts.append((hashed, pixels))
            room -= len(pixels)
        images = parts[0][1] if len(parts) == 1 else np.concatenate([p for _, p in parts])
        codes = self.hasher.hash(images)
        start = 0
        for hashed, pixels in parts:
            hashed.codes.append(codes[start : start + len(pixels)])
            hashed.unhashed -= len(pixels)
            start += len(pixels)
        self.progress.advance(len(images))

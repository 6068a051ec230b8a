"""Scenes -> hashed scenes: reading and hashing, with threads that read ahead of the model."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from shapely import Polygon

from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.pixels.reduce import reduced_shape
from dcsh_pg.imagery.scene import Chips, Scene, SceneRecord
from dcsh_pg.ingest.batches import Batches, chips_at_once
from dcsh_pg.progress import SILENT, Progress

SCENES_UNDERWAY = 8
"""Times the batch size: how many scenes may wait behind one whose batch does not fill up."""

ASKED_BYTES = 128 << 20
"""Of the chips that threads have read or are reading and that are not yet in a batch."""


@dataclass(frozen=True)
class _Read:
    """Chips that a thread reads: how many, of how many bytes of pixels."""

    count: int
    size: int
    chips: Future[Chips]


class _Asked:
    """How much is asked of the threads that read and is not yet in a batch."""

    def __init__(self, chips: int):
        self._most, self._count, self._size = chips, 0, 0

    def has_room(self, count: int, size: int) -> bool:
        """Whether so many chips of so many bytes may be asked for as well; always one block may."""
        fits = self._count + count <= self._most and self._size + size <= ASKED_BYTES
        return fits or self._count == 0

    def add(self, read: _Read) -> None:
        self._count += read.count
        self._size += read.size

    def remove(self, read: _Read) -> None:
        self._count -= read.count
        self._size -= read.size


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
        is_known: it was not read, because its content is known.
    """

    scene: Scene
    record: SceneRecord | None = None
    error: Exception | None = None
    is_known: bool = False
    codes: list[np.ndarray] = field(default_factory=list)
    windows: list[np.ndarray] = field(default_factory=list)
    footprints: list[Polygon] | None = None
    valid_fractions: list[np.ndarray] = field(default_factory=list)
    reads: deque[_Read] = field(default_factory=deque, repr=False)
    unhashed: int = 0

    def take(self, chips: Chips) -> None:
        """Keeps what will become rows; the pixels go on to the model and are let go."""
        self.windows.append(chips.windows)
        self.valid_fractions.append(chips.valid_fraction)
        if chips.footprints is not None:
            self.footprints = self.footprints or []
            self.footprints.extend(chips.footprints)
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
    batches = Batches(hasher, batch, progress)
    underway: deque[HashedScene] = deque()
    expected = ExpectedChips(len(scenes))
    asked = _Asked(chips=2 * threads * batch)
    try:
        for hashed in _described(scenes, pool, ahead=4 * threads):
            underway.append(hashed)
            record = hashed.record
            hashed.is_known = record is not None and record.content_hash in known
            is_new = record is not None and not hashed.is_known
            progress.advance(0, total=expected.after(len(record.windows) if is_new else 0))
            chip_bytes = _chip_bytes(record, hasher.card.bands) if is_new else 0
            for block in _blocks(record.windows, batch, chip_bytes) if is_new else ():
                size = len(block) * chip_bytes
                while not asked.has_room(len(block), size):
                    oldest = next(scene for scene in underway if scene.reads)
                    _take_next_block(oldest, asked, batches, min_valid)
                if hashed.error is not None:
                    break
                hashed.reads.append(_Read(len(block), size, pool.submit(hashed.scene.read, block)))
                asked.add(hashed.reads[-1])
            if len(underway) > SCENES_UNDERWAY * batch:
                _finish(underway[0], asked, batches, min_valid)
            while underway and underway[0].is_complete:
                yield _closed(underway.popleft())
        for hashed in underway:
            while hashed.reads:
                _take_next_block(hashed, asked, batches, min_valid)
        batches.run_all()
        while underway:
            yield _closed(underway.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


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
            hashed = HashedScene(scene, description.result())
        except Exception as error:
            hashed = HashedScene(scene, error=error)
        yield hashed


def _chip_bytes(record: SceneRecord, channels: int) -> int:
    """Of the pixels of one chip of a scene, all of which have one size."""
    if not len(record.windows):
        return 0
    _, _, width, height = record.windows[0].tolist()
    return math.prod(reduced_shape(width, height)) * channels


def _blocks(windows: np.ndarray, batch: int, chip_bytes: int) -> Iterator[np.ndarray]:
    size = chips_at_once(batch, chip_bytes)
    for start in range(0, len(windows), size):
        yield windows[start : start + size]


def _take_next_block(
    hashed: HashedScene, asked: _Asked, batches: Batches, min_valid: float
) -> None:
    """Hands a scene's next block to the batches."""
    read = hashed.reads.popleft()
    asked.remove(read)
    try:
        chips = read.chips.result()
    except Exception as error:
        hashed.error = error
        for rest in hashed.reads:
            rest.chips.cancel()
            asked.remove(rest)
        hashed.reads.clear()
        return
    chips = chips.select(chips.valid_fraction >= min_valid)
    if len(chips):
        hashed.take(chips)
        batches.add(hashed, chips.pixels)


def _finish(hashed: HashedScene, asked: _Asked, batches: Batches, min_valid: float) -> None:
    """Brings one scene to its end though its batch is not full."""
    while hashed.reads:
        _take_next_block(hashed, asked, batches, min_valid)
    if hashed.unhashed:
        batches.run_until_complete(hashed)


def _closed(hashed: HashedScene) -> HashedScene:
    hashed.scene.close()
    return hashed


class ExpectedChips:
    """Guesses the chips of a run from the scenes described so far."""

    def __init__(self, scenes: int):
        self.scenes, self.described, self.chips = scenes, 0, 0

    def after(self, chips: int) -> int:
        self.described += 1
        self.chips += chips
        return round(self.chips * self.scenes / self.described)

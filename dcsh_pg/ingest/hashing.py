"""Scenes -> hashed scenes: reading and hashing, with threads that read ahead of the model."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.pixels.reduce import reduced_shape
from dcsh_pg.imagery.scene import Scene, SceneRecord
from dcsh_pg.ingest.batches import Batches, chips_at_once
from dcsh_pg.ingest.hashed_scene import HashedScene, Read
from dcsh_pg.ingest.options import Pipeline

SCENES_UNDERWAY = 8
"""Times the batch size: how many scenes may wait behind one whose batch does not fill up."""

ASKED_BYTES = 128 << 20
"""Of the chips that threads have read or are reading and that are not yet in a batch."""


class _Asked:
    """How much is asked of the threads that read and is not yet in a batch."""

    def __init__(self, chips: int):
        self._most, self._count, self._size = chips, 0, 0

    def has_room(self, count: int, size: int) -> bool:
        """Whether so many chips of so many bytes may be asked for as well; always one block may."""
        fits = self._count + count <= self._most and self._size + size <= ASKED_BYTES
        return fits or self._count == 0

    def add(self, read: Read) -> None:
        self._count += read.count
        self._size += read.size

    def remove(self, read: Read) -> None:
        self._count -= read.count
        self._size -= read.size


def hash_scenes(
    scenes: Sequence[Scene],
    hasher: Hasher,
    *,
    known: Collection[str] = (),
    pipeline: Pipeline | None = None,
) -> Iterator[HashedScene]:
    """Reads and hashes scenes; yields them in their order, each complete or with its ``error``.

    Chips of equal size are gathered into batches across scenes, so that a folder of small pictures
    keeps the model as busy as one large raster.  A scene whose content hash is in ``known`` comes
    back with its record and without codes.  Chips with fewer valid pixels than the scene's
    ``reading.min_valid`` are left out.
    """
    pipeline = pipeline or Pipeline()
    batch, threads, progress = pipeline.batch, pipeline.threads, pipeline.progress
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
                    _take_next_block(oldest, asked, batches)
                if hashed.error is not None:
                    break
                hashed.reads.append(Read(len(block), size, pool.submit(hashed.scene.read, block)))
                asked.add(hashed.reads[-1])
            if len(underway) > SCENES_UNDERWAY * batch:
                _finish(underway[0], asked, batches)
            while underway and underway[0].is_complete:
                yield _closed(underway.popleft())
        for hashed in underway:
            while hashed.reads:
                _take_next_block(hashed, asked, batches)
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


def _take_next_block(hashed: HashedScene, asked: _Asked, batches: Batches) -> None:
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
    chips = chips.select(chips.valid_fraction >= hashed.scene.reading.min_valid)
    if len(chips):
        hashed.take(chips)
        batches.add(hashed, chips.pixels)


def _finish(hashed: HashedScene, asked: _Asked, batches: Batches) -> None:
    """Brings one scene to its end though its batch is not full."""
    while hashed.reads:
        _take_next_block(hashed, asked, batches)
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

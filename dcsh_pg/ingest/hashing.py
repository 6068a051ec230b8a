"""Scenes -> hashed scenes, with threads that read ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.grid import NO_WINDOWS, Windows
from dcsh_pg.imagery.scene import Scene, SceneRecord
from dcsh_pg.ingest.batches import Batches, chips_at_once
from dcsh_pg.ingest.hashed_scene import HashedScene, Read
from dcsh_pg.ingest.options import Pipeline

SCENES_UNDERWAY = 8
"""Most scenes, in multiples of the batch size, that wait behind one whose batch is not full."""

REQUESTED_BYTES = 128 << 20
"""Most bytes of chips that threads read or have read and that are not yet in a batch."""


class _Requested:
    """Counts the chips that are requested from threads and not yet in a batch."""

    def __init__(self, chips: int):
        self._most, self._count, self._size = chips, 0, 0

    def has_room(self, count: int, size: int) -> bool:
        """Whether these chips may be requested too; one block always may."""
        fits = self._count + count <= self._most and self._size + size <= REQUESTED_BYTES
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
    known: Container[str] = (),
    pipeline: Pipeline | None = None,
) -> Generator[HashedScene, None, None]:
    """Reads and hashes scenes; yields them in their order, each complete or with its ``error``.

    Chips of equal size are collected into batches across scenes, so that a folder of small pictures
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
    requested = _Requested(chips=2 * threads * batch)
    try:
        for hashed in _described(scenes, pool, ahead=4 * threads):
            underway.append(hashed)
            record = hashed.record
            hashed.is_known = record is not None and record.content_hash in known
            windows = NO_WINDOWS if record is None or hashed.is_known else record.windows
            progress.advance(0, total=expected.after(len(windows)))
            chip_bytes = hashed.scene.chip_bytes(windows[0]) if len(windows) else 0
            for block in _blocks(windows, batch, chip_bytes):
                size = len(block) * chip_bytes
                while not requested.has_room(len(block), size):
                    oldest = next(scene for scene in underway if scene.reads)
                    _take_next_block(oldest, requested, batches)
                if hashed.error is not None:
                    break
                hashed.reads.append(Read(len(block), size, pool.submit(hashed.scene.read, block)))
                requested.add(hashed.reads[-1])
            if len(underway) > SCENES_UNDERWAY * batch:
                _finish(underway[0], requested, batches)
            while underway and underway[0].is_complete:
                yield _closed(underway.popleft())
        for hashed in underway:
            while hashed.reads:
                _take_next_block(hashed, requested, batches)
        batches.run_all()
        while underway:
            yield _closed(underway.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _described(
    scenes: Sequence[Scene], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[HashedScene]:
    """Scenes in order, described by threads that are at most ``ahead`` scenes ahead."""
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


def _blocks(windows: Windows, batch: int, chip_bytes: int) -> Iterator[np.ndarray]:
    size = chips_at_once(batch, chip_bytes)
    for start in range(0, len(windows), size):
        yield windows[start : start + size]


def _take_next_block(hashed: HashedScene, requested: _Requested, batches: Batches) -> None:
    """Adds a scene's next block to the batches."""
    read = hashed.reads.popleft()
    requested.remove(read)
    try:
        chips = read.chips.result()
    except Exception as error:
        hashed.error = error
        for rest in hashed.reads:
            rest.chips.cancel()
            requested.remove(rest)
        hashed.reads.clear()
        return
    chips = chips.select(chips.valid_fraction >= hashed.scene.reading.min_valid)
    if len(chips):
        hashed.take(chips)
        batches.add(hashed, chips.pixels)


def _finish(hashed: HashedScene, requested: _Requested, batches: Batches) -> None:
    """Completes one scene before its batch is full."""
    while hashed.reads:
        _take_next_block(hashed, requested, batches)
    if hashed.unhashed:
        batches.run_until_complete(hashed)


def _closed(hashed: HashedScene) -> HashedScene:
    hashed.scene.close()
    return hashed


class ExpectedChips:
    """Estimates the chips of a run from the scenes described so far."""

    def __init__(self, scenes: int):
        self.scenes, self.described, self.chips = scenes, 0, 0

    def after(self, chips: int) -> int:
        self.described += 1
        self.chips += chips
        return round(self.chips * self.scenes / self.described)

"""Chips of many scenes -> batches of equal size -> codes, in order."""

from __future__ import annotations

from collections import deque

import numpy as np

from dcsh_pg.hasher import Hasher
from dcsh_pg.ingest.hashed_scene import HashedScene
from dcsh_pg.progress import Progress

BATCH_BYTES = 32 << 20
"""Most bytes of pixels in a batch; the graph needs about ten times as much meanwhile."""

WAITING_BYTES = 64 << 20
"""Most bytes of pixels that wait for others of their size."""

Part = tuple[HashedScene, np.ndarray]


class Batches:
    """Collects chips of equal size into batches, hashes them, and returns the codes in order.

    All chips of a scene have one size and each size has one queue, so the codes of a scene return
    in the order of its chips.  When too many bytes wait, the queue with most of them is hashed
    before its batch is full.

    Args:
        hasher: the model.
        size: most chips in a batch.
        progress: advanced by the chips hashed.
    """

    def __init__(self, hasher: Hasher, size: int, progress: Progress):
        self.hasher, self.size, self.progress = hasher, size, progress
        self.queues: dict[tuple[int, ...], deque[Part]] = {}
        self.waiting = 0

    def add(self, hashed: HashedScene, pixels: np.ndarray) -> None:
        """Adds chips of a scene, (n, H, W, C) of the model's type."""
        queue = self.queues.setdefault(pixels.shape[1:], deque())
        queue.append((hashed, pixels))
        self.waiting += pixels.nbytes
        full = chips_at_once(self.size, pixels[0].nbytes)
        while sum(len(part) for _, part in queue) >= full:
            self._run(queue)
        while self.waiting > WAITING_BYTES:
            self._run(max(self.queues.values(), key=_bytes))
        self._forget_empty()

    def run_all(self) -> None:
        for queue in self.queues.values():
            while queue:
                self._run(queue)
        self._forget_empty()

    def run_until_complete(self, hashed: HashedScene) -> None:
        queue = next(q for q in self.queues.values() if any(scene is hashed for scene, _ in q))
        while hashed.unhashed:
            self._run(queue)
        self._forget_empty()

    def _run(self, queue: deque[Part]) -> None:
        parts: list[Part] = []
        room = chips_at_once(self.size, queue[0][1][0].nbytes)
        while queue and room:
            hashed, pixels = queue.popleft()
            if len(pixels) > room:
                queue.appendleft((hashed, pixels[room:]))
                pixels = pixels[:room]
            parts.append((hashed, pixels))
            room -= len(pixels)
        images = parts[0][1] if len(parts) == 1 else np.concatenate([p for _, p in parts])
        self.waiting -= images.nbytes
        codes = self.hasher.hash(images)
        start = 0
        for hashed, pixels in parts:
            hashed.codes.append(codes[start : start + len(pixels)])
            hashed.unhashed -= len(pixels)
            start += len(pixels)
        self.progress.advance(len(images))

    def _forget_empty(self) -> None:
        """Drops empty queues, because pictures have many sizes."""
        self.queues = {shape: queue for shape, queue in self.queues.items() if queue}


def chips_at_once(most: int, chip_bytes: int) -> int:
    """Number of chips of ``chip_bytes`` in a batch: at most ``most``, at least one."""
    return max(1, min(most, BATCH_BYTES // max(1, chip_bytes)))


def _bytes(queue: deque[Part]) -> int:
    return sum(pixels.nbytes for _, pixels in queue)

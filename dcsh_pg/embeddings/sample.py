"""A random sample of the vectors of many files, to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcsh_pg.embeddings.file import EmbeddingFile
from dcsh_pg.errors import InputError
from dcsh_pg.imagery.scene import Scene
from dcsh_pg.progress import SILENT, Progress

LIMIT = 100_000
"""Default number of vectors."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Vectors to train on.

    Attributes:
        values: float32 (N, D), in the order of the files.
        files: number of their files.
        skipped: windows of rasters without enough valid pixels.
        failed: why files could not be read.
    """

    values: np.ndarray
    files: int
    skipped: int
    failed: tuple[str, ...]


def sample(
    files: Sequence[Scene], *, limit: int = LIMIT, seed: int = 0, progress: Progress = SILENT
) -> Sample:
    """At most ``limit`` vectors, drawn without replacement by ``seed``; memory holds twice as many.

    Files that cannot be read are left out and listed in ``failed``.

    Raises:
        InputError: no file could be read, they have no vectors, or vectors of several dimensions.
    """
    random = np.random.default_rng(seed)
    kept = np.empty((0, 0), np.float32)
    keys = np.empty(0)
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    skipped, read, failed = 0, 0, []
    progress.start("reading embeddings", len(files))

    def settle() -> None:
        nonlocal kept, keys
        values = np.concatenate([v for v, _ in waiting])
        new = np.concatenate([k for _, k in waiting])
        if keys.size:
            values, new = np.concatenate([kept, values]), np.concatenate([keys, new])
        if len(new) > limit:
            chosen = np.sort(np.argpartition(new, limit - 1)[:limit])
            values, new = values[chosen], new[chosen]
        kept, keys = values, new
        waiting.clear()

    for file in files:
        try:
            file.describe()  # raises for what cannot be read
            assert isinstance(file, EmbeddingFile)
            for block in file.vectors():
                skipped += block.skipped
                drawn = random.random(len(block))
                dimension = (waiting[0][0] if waiting else kept).shape[1]
                if dimension and dimension != block.values.shape[1]:
                    raise InputError(
                        f"{file.uri} has embeddings of {block.values.shape[1]} numbers, the files "
                        f"before it of {dimension}"
                    )
                bound = keys.max() if len(keys) == limit else 1.0
                chosen = drawn <= bound
                if chosen.any():
                    waiting.append((block.values[chosen], drawn[chosen]))
                if sum(len(v) for v, _ in waiting) > limit:
                    settle()
            read += 1
        except InputError as error:
            failed.append(error)
            progress.note(f"skipped: {error.message}")
        progress.advance()
    if waiting:
        settle()
    if not len(kept):
        raise failed[0] if failed else InputError("the files have no embeddings")
    return Sample(kept, read, skipped, tuple(error.message for error in failed))

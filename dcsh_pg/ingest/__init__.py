"""The pipeline from scenes to rows.

    describe scenes  ->  read chips      ->  hash batches  ->  rows, a transaction at a time
    (threads, ahead)     (threads, ahead)    (this thread)     (database.load.Loader)
    hashing.py           hashing.py          batches.py        storing.py

Threads read ahead of the model, never more than a bounded number of bytes.  Scenes are stored in
the order in which they were given, each whole or not at all, so a run that was killed and is run
again ends with the rows of one clean run.  A scene that cannot be read or stored is recorded and
skipped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from dcsh_pg.database.archives.load import Loader
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.scene import Scene
from dcsh_pg.ingest.hashing import ExpectedChips, HashedScene, hash_scenes
from dcsh_pg.ingest.report import IngestReport
from dcsh_pg.ingest.storing import store_scenes
from dcsh_pg.progress import SILENT, Progress

__all__ = [
    "ExpectedChips",
    "HashedScene",
    "IngestReport",
    "hash_scenes",
    "ingest",
    "store_scenes",
]


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

    Never raises for a scene that cannot be read or stored: that is recorded, counted and skipped.
    """
    progress.start(f"hashing chips on {'the CPU' if hasher.provider == 'cpu' else 'CUDA'}")

    def hash_them(some: Sequence[Scene], known: Collection[str]) -> Iterator[HashedScene]:
        return hash_scenes(
            some,
            hasher,
            known=known,
            min_valid=min_valid,
            batch=batch,
            threads=threads,
            progress=progress,
        )

    return store_scenes(scenes, hash_them, loader, progress=progress)

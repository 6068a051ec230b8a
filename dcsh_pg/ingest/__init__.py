"""The pipeline from scenes to rows.

    describe scenes  ->  read chips      ->  hash batches  ->  rows, a transaction at a time
    (threads, ahead)     (threads, ahead)    (this thread)     (database.load.Loader)
    hashing.py           hashing.py          batches.py        storing.py

Threads read ahead of the model, never more than a bounded number of bytes.  Scenes are stored in
the order in which they are given, each whole or not at all, so a run that was killed and is rerun
ends with the rows of one clean run.  A scene that cannot be read or stored is recorded and
skipped.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence

from dcsh_pg.database.archives.load import Loader
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.scene import Scene
from dcsh_pg.ingest.hashed_scene import HashedScene as HashedScene
from dcsh_pg.ingest.hashing import ExpectedChips as ExpectedChips
from dcsh_pg.ingest.hashing import hash_scenes as hash_scenes
from dcsh_pg.ingest.options import Pipeline as Pipeline
from dcsh_pg.ingest.report import IngestReport as IngestReport
from dcsh_pg.ingest.storing import store_scenes as store_scenes


def ingest(
    scenes: Sequence[Scene],
    hasher: Hasher,
    loader: Loader,
    pipeline: Pipeline | None = None,
) -> IngestReport:
    """Hashes ``scenes`` and stores them through ``loader``; returns what was done.

    Never raises for a scene that cannot be read or stored: it is recorded, counted and skipped.
    """
    pipeline = pipeline or Pipeline()
    device = "the CPU" if hasher.provider == "cpu" else "CUDA"
    pipeline.progress.start(f"hashing chips on {device}")

    def hash_them(
        some: Sequence[Scene], known: Collection[str]
    ) -> Generator[HashedScene, None, None]:
        return hash_scenes(some, hasher, known=known, pipeline=pipeline)

    return store_scenes(scenes, hash_them, loader, progress=pipeline.progress)

"""Files of embeddings -> rows: vectors are read and hashed by a thread, and copied meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence

from dcsh_pg.database.archives.copy_rows import chip_rows
from dcsh_pg.database.archives.load import ChipBlock, Loader
from dcsh_pg.embeddings import EmbeddingFile
from dcsh_pg.errors import InputError
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.scene import Scene, SceneRecord
from dcsh_pg.ingest.ahead import ahead
from dcsh_pg.ingest.hashed_scene import HashedScene
from dcsh_pg.ingest.report import IngestReport
from dcsh_pg.ingest.storing import store_scenes
from dcsh_pg.progress import SILENT, Progress


def ingest_embeddings(
    files: Sequence[Scene], hasher: Hasher, loader: Loader, progress: Progress = SILENT
) -> IngestReport:
    """Hashes files of embeddings and stores them through ``loader``; returns what was done.

    Each file is one scene and one transaction.  Never raises for a file that cannot be read or
    stored: it is recorded, counted and skipped.
    """
    progress.start("hashing embeddings")

    def hash_them(
        some: Sequence[Scene], known: Collection[str]
    ) -> Generator[HashedScene, None, None]:
        for file in some:
            yield _hashed(file, known, hasher, progress)

    return store_scenes(files, hash_them, loader, progress=progress)


def _hashed(file: Scene, known: Collection[str], hasher: Hasher, progress: Progress) -> HashedScene:
    try:
        record = file.describe()
    except Exception as error:
        return HashedScene(file, error=error)
    assert isinstance(file, EmbeddingFile)  # others cannot be described
    if record.content_hash in known:
        return HashedScene(file, record, is_known=True)
    return HashedScene(file, record, stream=_Stream(file, hasher, progress))


class _Stream:
    """The chips of a file, hashed while they are stored."""

    def __init__(self, file: EmbeddingFile, hasher: Hasher, progress: Progress):
        self._file, self._hasher, self._progress = file, hasher, progress
        self._skipped = 0

    def store(self, loader: Loader, record: SceneRecord) -> tuple[int, int]:
        """Stores the scene; returns its chips, and its windows without one."""
        chips = loader.store(record, self._shown(loader), skipped=lambda: self._skipped)
        return chips, self._skipped

    def _shown(self, loader: Loader) -> Iterator[ChipBlock]:
        for count, rows in ahead(self._blocks(loader)):
            yield count, rows
            self._progress.advance(count)

    def _blocks(self, loader: Loader) -> Iterator[ChipBlock]:
        first, card = 0, self._hasher.card
        for vectors in self._file.vectors():
            self._skipped += vectors.skipped
            if vectors.values.shape[1] != card.bands:
                raise InputError(
                    f"{self._file.uri} has embeddings of {vectors.values.shape[1]} numbers, the "
                    f"model {card.name} takes {card.bands}",
                    hint="give embeddings of the kind that it was trained on, or train a model for "
                    "these",
                )
            rows = chip_rows(
                first,
                0,
                self._hasher.hash(vectors.values),
                vectors.windows,
                vectors.footprints,
                vectors.valid_fraction,
                loader.layer,
                vectors.acquired,
            )
            yield len(vectors), list(rows)
            first += len(vectors)

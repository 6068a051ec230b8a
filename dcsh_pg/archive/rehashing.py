"""A new model for an old archive: its windows are hashed again, beside searches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, cast, overload

import numpy as np
import psycopg

from dcsh_pg.archive.texts import store_text
from dcsh_pg.database.archives import registry, rehash, upkeep
from dcsh_pg.errors import DcshError, InputError, NotFound, PartialSuccess, UsageError
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.metadata.origin import Origin
from dcsh_pg.imagery.pixels.open import open_scene
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Chips, Scene, SceneRecord
from dcsh_pg.ingest import Pipeline, hash_scenes

if TYPE_CHECKING:
    from dcsh_pg.imagery.grid import Windows

STORED_CHIPS = 4_000
STORED_SECONDS = 5.0
"""A transaction is written when this many chips wait, or after this time."""


@dataclass
class RehashReport:
    """The result of hashing an archive again.

    Attributes:
        chips: chips hashed by this run.
        failures: one error for each scene that cannot be read.
        is_swapped: whether the archive has the new codes now.
    """

    chips: int = 0
    failures: list[DcshError] = field(default_factory=list)
    is_swapped: bool = False

    def raise_for_failures(self) -> None:
        """Raises the error of a command in which scenes failed.

        Raises:
            PartialSuccess: some failed; the codes of the others are kept.
        """
        if self.failures:
            raise PartialSuccess(
                f"{len(self.failures)} scenes cannot be hashed again, so the archive keeps its codes; "
                f"the first: {self.failures[0].message}",
                hint="correct their addresses with 'dcsh-pg archive relocate', or remove them with "
                "'dcsh-pg archive remove-scenes', then rerun the command: it resumes",
            )


class _StoredScene(Scene):
    """A scene of which the stored windows are read."""

    def __init__(self, scene: Scene, chips: rehash.StoredChips):
        super().__init__(scene.uri, scene.reading, scene.channels)
        self.chips, self._scene = chips, scene
        self._valid = dict(
            zip(map(tuple, chips.windows.tolist()), chips.valid_fraction.tolist(), strict=True)
        )

    def describe(self) -> SceneRecord:
        # An array is indexed like Windows.
        return SceneRecord(self.uri, "", 0, 0, cast("Windows", self.chips.windows))

    def read(self, windows: np.ndarray) -> Chips:
        chips = self._scene.read(windows)
        stored = [self._valid[window] for window in map(tuple, np.asarray(windows).tolist())]
        if not np.allclose(chips.valid_fraction, stored, atol=1e-5):
            raise InputError(
                f"{self.uri} has changed since it was ingested", hint="ingest it again first"
            )
        return chips

    def close(self) -> None:
        self._scene.close()


class _Scenes(Sequence[Scene]):
    """The scenes to hash; the chips of each are looked up when its turn comes."""

    def __init__(
        self,
        conn: psycopg.Connection,
        archive: registry.ArchiveRecord,
        hasher: Hasher,
        options: SceneOptions,
        ids: list[int],
    ):
        self._conn, self._archive, self._ids = conn, archive, ids
        self._hasher, self._options = hasher, replace(options, georeference=False)
        self._reading = replace(Reading.from_json(archive.reading), min_valid=0.0)

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Scene]: ...
    def __getitem__(self, index: int | slice) -> Scene | Sequence[Scene]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        chips = rehash.chips_to_hash(
            self._conn, self._archive.name, self._hasher.sha256, self._ids[index]
        )
        origin = Origin(chips.uri.rpartition("/")[2], options=self._options)
        scene = open_scene(chips.uri, self._reading, bands=self._hasher.card.bands, origin=origin)
        return _StoredScene(scene, chips)

    def __iter__(self) -> Iterator[Scene]:
        for index in range(len(self)):
            try:
                yield self[index]
            except NotFound:  # it was removed since
                continue


def rehash_archive(
    conn: psycopg.Connection,
    name: str,
    hasher: Hasher,
    model: Path | str,
    *,
    new_name: str | None = None,
    swap: bool = False,
    options: SceneOptions | None = None,
    pipeline: Pipeline | None = None,
) -> RehashReport:
    """Hashes the stored windows of an archive with another model; searches continue meanwhile.

    New codes are kept beside the old ones and committed every few seconds, so a run that was killed
    resumes.  Scenes that are ingested meanwhile are hashed too.

    Args:
        hasher, model: the new model, and its file.
        new_name: a copy of the archive, with the same chip ids, gets the new codes; the archive stays.
        swap: the new codes replace those of the archive, in one transaction.
        options: how scenes are opened: ``sign`` and ``any_driver``.

    Raises:
        NotFound: no such archive.
        UsageError: it has that model already, is being hashed again with another one, or the new
            name is taken.
        ServerError: this role does not own the archive.
    """
    if not swap and new_name is not None:
        swap = True
    archive = registry.get_archive(conn, name)
    reading = Reading.from_json(archive.reading)
    reading.check_bands(hasher.card.bands)
    reading.check_dtype(hasher.card.dtype)
    with conn.transaction():
        store_text(conn, model, hasher.card)
        sha256 = registry.store_model(conn, hasher.card, Path(model).read_bytes())
        if new_name is not None:
            _copy(conn, archive, new_name, sha256)
            archive = registry.get_archive(conn, new_name)
        rehash.begin(conn, archive.name, sha256)
    report = RehashReport()
    pipeline = pipeline or Pipeline()
    pipeline.progress.start("hashing chips again")
    failed: dict[str, DcshError] = {}
    while True:
        before = report.chips
        ids = rehash.scenes_to_hash(conn, archive.name, sha256)
        scenes = _Scenes(conn, archive, hasher, options or SceneOptions(), ids)
        _hash(conn, archive, hasher, scenes, pipeline, report, failed)
        if report.chips == before:
            break
    report.failures = list(failed.values())
    if swap and not report.failures:
        rehash.end(conn, archive.name, sha256)
        report.is_swapped = True
    return report


def _copy(
    conn: psycopg.Connection, archive: registry.ArchiveRecord, new_name: str, sha256: str
) -> None:
    """Copies an archive, unless an earlier run did."""
    if rehash.is_begun(conn, new_name, sha256):
        return
    if any(other.name == new_name for other in registry.list_archives(conn)):
        raise UsageError(f"archive '{new_name}' already exists", hint="choose another name")
    upkeep.copy_archive(conn, archive.name, new_name)


def _hash(
    conn: psycopg.Connection,
    archive: registry.ArchiveRecord,
    hasher: Hasher,
    scenes: _Scenes,
    pipeline: Pipeline,
    report: RehashReport,
    failed: dict[str, DcshError],
) -> None:
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    stored = monotonic()

    def flush() -> None:
        if waiting:
            ids, codes = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
            for first in range(0, len(ids), STORED_CHIPS):
                part = slice(first, first + STORED_CHIPS)
                rehash.store(conn, archive.name, hasher.sha256, ids[part], codes[part])
            report.chips += len(ids)
            waiting.clear()

    hashed = hash_scenes(scenes, hasher, pipeline=pipeline)
    try:
        for done in hashed:
            scene = done.scene
            assert isinstance(scene, _StoredScene)
            if done.error is not None:
                error = done.error
                if not isinstance(error, DcshError):
                    error = InputError(f"{scene.uri}: {error}")
                if scene.uri not in failed:
                    pipeline.progress.note(f"skipped: {error.message}")
                failed[scene.uri] = error
            elif len(scene.chips.ids):
                failed.pop(scene.uri, None)
                waiting.append((scene.chips.ids, np.concatenate(done.codes)))
            full = sum(len(ids) for ids, _ in waiting) >= STORED_CHIPS
            if full or monotonic() - stored > STORED_SECONDS:
                flush()
                stored = monotonic()
    finally:
        hashed.close()
    flush()

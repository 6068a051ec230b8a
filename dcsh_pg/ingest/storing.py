"""Hashed scenes -> rows, in order, and files that were renamed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Generator, Sequence
from time import monotonic

import numpy as np

from dcsh_pg.database.archives.load import Loader
from dcsh_pg.errors import DcshError, InputError, NotFound, ServerError, storable
from dcsh_pg.imagery.grid import NO_WINDOWS
from dcsh_pg.imagery.parts import files_of
from dcsh_pg.imagery.pixels.bands import listed
from dcsh_pg.imagery.pixels.gdal import is_gdal_name
from dcsh_pg.imagery.scene import Scene, SceneRecord
from dcsh_pg.ingest.hashed_scene import HashedScene, Stream
from dcsh_pg.ingest.report import IngestReport
from dcsh_pg.progress import SILENT, Progress

FLUSH_CHIPS = 20_000
FLUSH_SECONDS = 5.0
"""A transaction is written when this many chips wait, or after this time."""

FAR_RESOLUTION = 1.5
"""Ratio of resolutions from which a model's codes may mean little."""

HashScenes = Callable[[Sequence[Scene], Collection[str]], Generator[HashedScene, None, None]]
"""Scenes and the content hashes already stored -> hashed scenes, as of :func:`hash_scenes`."""


def store_scenes(
    scenes: Sequence[Scene],
    hash_them: HashScenes,
    loader: Loader,
    *,
    progress: Progress = SILENT,
) -> IngestReport:
    """Hashes scenes and stores them in their order; returns what was done.

    The first scene of each URI counts, so that a second run finds what the first one stored.
    """
    began = monotonic()
    scenes = _first_of_each_uri(scenes)
    storing = _Storing(loader, len(scenes), progress)
    storing.store(hash_them(scenes, storing.known))
    storing.rename()
    if storing.again:
        again, storing.again = storing.again, []
        storing.report.known -= len(again)
        storing.store(hash_them(again, ()))
    storing.remove_stale()
    try:
        loader.finish()
    except ServerError as error:
        progress.note(f"searches compare every code: {error.message}")
    storing.report.seconds = monotonic() - began
    return storing.report


def _first_of_each_uri(scenes: Sequence[Scene]) -> list[Scene]:
    first: dict[str, Scene] = {}
    for scene in scenes:
        first.setdefault(scene.uri, scene)
    return list(first.values())


class _Storing:
    """Stores scenes and tracks which content the archive has under which URI.

    A scene whose content the archive has under another URI is a copy of that file, or that file
    renamed.  Which of the two is known only after the last scene: the other file may have new
    content, which replaces what the archive had, and come before or after.

    Attributes:
        report: the result so far.
        known: the content hashes that the archive had at the start.
        again: scenes that were skipped as known and whose content was replaced since.
    """

    def __init__(self, loader: Loader, scenes: int, progress: Progress):
        self.report = IngestReport(scenes=scenes)
        self.again: list[Scene] = []
        self._loader, self._progress = loader, progress
        self._uri_of = loader.known()
        self._hash_at = {uri: content for content, uri in self._uri_of.items()}
        self.known = frozenset(self._uri_of)
        self._failed_before = loader.recorded_errors()
        self._unchanged: set[str] = set()
        self._left: set[str] = set()
        self._elsewhere: list[tuple[Scene, SceneRecord]] = []
        self._is_noted = False

    def store(self, hashed: Generator[HashedScene, None, None]) -> None:
        """Stores scenes in their order."""
        flushed = monotonic()
        try:
            for done in hashed:
                self._take(done)
                late = monotonic() - flushed > FLUSH_SECONDS
                if self._loader.waiting >= FLUSH_CHIPS or late:
                    self._flush()
                    flushed = monotonic()
        finally:
            hashed.close()
        self._flush()

    def rename(self) -> None:
        """Gives scenes their new URIs, and finds those that must be read after all."""
        moves: dict[str, SceneRecord] = {}
        for scene, record in self._elsewhere:
            former = self._uri_of.get(record.content_hash)
            if former is None:
                self.again.append(scene)
            elif record.content_hash not in moves and self._is_gone(former):
                moves[record.content_hash] = record
        for record in moves.values():
            self._holds(record)
        self._elsewhere = []
        if not moves:
            return
        try:
            self.report.renamed = self._loader.rename(list(moves.values()))
        except ServerError as error:
            self._progress.note(f"renamed files keep their old names: {error.message}")

    def remove_stale(self) -> None:
        """Removes the scenes of files that now have the content of other scenes."""
        stale = [uri for uri in self._left if self._uri_of.get(self._hash_at[uri]) == uri]
        if stale:
            self._loader.remove(stale)

    def _holds(self, record: SceneRecord) -> None:
        """Records that the archive has, or will have, a scene under its URI."""
        self._uri_of[record.content_hash] = record.uri
        self._hash_at[record.uri] = record.content_hash
        self._left.discard(record.uri)

    def _is_gone(self, uri: str) -> bool:
        """Whether a file in the archive no longer exists, or has other content."""
        if uri in self._left:
            return True
        is_file = os.path.isabs(uri) and not is_gdal_name(uri)
        is_there = all(map(os.path.lexists, files_of(uri)))
        return uri not in self._unchanged and is_file and not is_there

    def _take(self, done: HashedScene) -> None:
        uri = done.scene.uri
        record = done.record
        if done.error is not None or record is None:
            self._unchanged.add(uri)
            self._fail(uri, done.error or InputError(f"{uri} was not described"))
            return
        content = record.content_hash
        former = self._uri_of.get(content)
        if (former or done.is_known) and self._hash_at.get(uri, content) != content:
            self._left.add(uri)
        if former is None and done.is_known:
            self.report.known += 1
            self.again.append(done.scene)
        elif former is None:
            self._add(done, record)
        else:
            self.report.known += 1
            if uri in self._failed_before:
                self._loader.forget_errors([uri])
            if former == uri:
                self._unchanged.add(uri)
            else:
                bare = dataclasses.replace(record, windows=NO_WINDOWS)
                self._elsewhere.append((done.scene, bare))

    def _note_resolution(self, record: SceneRecord) -> None:
        """Says once that scenes have another resolution than the model's training images."""
        archive = self._loader.archive
        trained, asked = archive.card.resolution, archive.reading.get("resolution")
        if self._is_noted or asked or not (trained and record.resolution):
            return
        ratio = record.resolution / trained
        if not 1 / FAR_RESOLUTION < ratio < FAR_RESOLUTION:
            self._is_noted = True
            self._progress.note(
                f"{record.uri} has {record.resolution:.3g} m per pixel, the model was trained at "
                f"{trained:.3g} m: its codes may mean little; an archive made with --resolution "
                f"{trained:.3g} brings all scenes to that"
            )

    def _add(self, done: HashedScene, record: SceneRecord) -> None:
        if done.stream is None:
            stored = self._add_hashed(done, record)
        else:
            stored = self._store_stream(done.stream, record)
        if stored is None:
            return
        chips, skipped = stored
        replaced = self._hash_at.get(record.uri)
        if replaced is not None:
            self._uri_of.pop(replaced, None)
        self._holds(record)
        self._note_resolution(record)
        self.report.stored += 1
        if record.bands:
            self.report.bands[listed(record.bands)] += 1
        self.report.chips += chips
        self.report.skipped += skipped
        self.report.replaced += replaced is not None

    def _store_stream(self, stream: Stream, record: SceneRecord) -> tuple[int, int] | None:
        """Stores a scene at once; None if that failed."""
        self._flush()
        try:
            return stream.store(self._loader, record)
        except (ServerError, NotFound):
            raise
        except Exception as error:
            self._fail(record.uri, error)
            return None

    def _add_hashed(self, done: HashedScene, record: SceneRecord) -> tuple[int, int] | None:
        """Adds a scene to those that the next flush stores; None if that failed."""
        width = self._loader.archive.bits // 8
        codes = np.concatenate([np.empty((0, width), np.uint8), *done.codes])
        windows = np.concatenate([np.empty((0, 4), np.int32), *done.windows])
        valid = np.concatenate([np.empty(0, np.float32), *done.valid_fractions])
        skipped = len(record.windows) - len(codes)
        try:
            self._loader.add(record, codes, windows, done.footprints, valid, skipped)
        except InputError as error:
            self._fail(record.uri, error)
            return None
        return len(codes), skipped

    def _flush(self) -> None:
        for refused in self._loader.flush():
            self.report.stored -= 1
            self.report.chips -= refused.chips
            self.report.skipped -= refused.skipped
            self._uri_of.pop(refused.content_hash, None)
            self._fail(refused.uri, refused.error)

    def _fail(self, uri: str, error: Exception) -> None:
        if not isinstance(error, DcshError):
            error = InputError(f"{storable(uri)}: {error}")
        self._loader.record_error(uri, error.message, error.hint)
        self.report.failed += 1
        self.report.failures.append(error)
        if self.report.scenes > 1:
            self._progress.note(f"skipped: {self.report.errors[-1]}")

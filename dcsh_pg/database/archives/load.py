"""Loading an archive: binary COPY into temporary tables, then one set-based insert a transaction.

Ids, replacement and which scenes are known are decided in SQL: ``dcsh.begin_load``,
``dcsh.end_load``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psycopg
from psycopg import errors as sqlstate
from shapely.geometry import Polygon

from dcsh_pg.database.archives import spatial
from dcsh_pg.database.archives.copy_rows import (
    COPY_HEADER,
    COPY_TRAILER,
    MESSAGE_URI,
    SCENE_COLUMNS,
    Scene,
    SceneRow,
    chip_rows,
    scene_row,
)
from dcsh_pg.database.archives.registry import ArchiveRecord
from dcsh_pg.database.server.pg_errors import sql_errors, translated
from dcsh_pg.database.server.rows import scalar
from dcsh_pg.errors import DcshError, InputError, NotFound, UsageError, storable

ANALYZE_SHARE = 0.2
"""ANALYZE runs when this share of the rows is new since the last time."""


@dataclass(frozen=True)
class Refused:
    """A scene that the server refused to store.

    Attributes:
        uri, content_hash: of the scene.
        chips, skipped: number of its chips, and of its windows without a chip.
        error: why, with the server's message.
    """

    uri: str
    content_hash: str
    chips: int
    skipped: int
    error: DcshError


ChipBlock = tuple[int, list[bytes]]
"""A number of chips, and their rows as of :func:`chip_rows`."""

_COPY_CHIPS = "COPY pg_temp.dcsh_batch_chip FROM STDIN (FORMAT binary)"


@dataclass(frozen=True)
class _Waiting:
    """A scene to be stored: its row, and those of its chips in binary COPY format."""

    row: SceneRow
    chips: int
    chip_rows: list[bytes]


class Loader:
    """Stores scenes with their chips in an archive.

    :meth:`add` collects scenes and :meth:`flush` stores them, each completely or not at all.  Chip
    ids continue from the archive's last one, without gaps, in the order of ``add``, however the
    scenes are divided among flushes.  Of several scenes with one URI, each replaces the one before.

    Attributes:
        archive: the archive to load.
        waiting: chips added since the last flush.
        layer: how footprints are stored.

    Raises:
        UsageError: the connection is not in autocommit mode, so flushes would not commit.
    """

    def __init__(self, conn: psycopg.Connection, archive: ArchiveRecord):
        if not conn.autocommit:
            raise UsageError(
                "a Loader needs a connection in autocommit mode",
                hint="open it with dcsh_pg.database.server.connect.connect",
            )
        self.archive = archive
        self.waiting = 0
        self._conn = conn
        self.layer = spatial.layer_of(conn)
        self._scenes: list[_Waiting] = []
        self._added_scenes = self._added_chips = 0
        self._stored = archive.chips
        self._since_analyze = 0

    def known(self) -> dict[str, str]:
        """The scenes stored: content hash -> URI."""
        with sql_errors():
            return dict(
                self._conn.execute(
                    "SELECT content_hash, uri FROM dcsh.scene WHERE archive_id = %s",
                    [self.archive.id],
                ).fetchall()
            )

    def add(
        self,
        scene: Scene,
        codes: np.ndarray,
        windows: np.ndarray,
        footprints: Sequence[Polygon] | None,
        valid_fraction: np.ndarray,
        skipped: int,
    ) -> None:
        """Adds a scene with all its chips; a scene without chips is stored as well.

        Raises:
            InputError: PostgreSQL cannot store a text, a property or a footprint of the scene.

        Args:
            scene: its record.
            codes: packed, uint8 (N, K/8).
            windows: int32 (N, 4), col_off, row_off, width, height in pixels.
            footprints: N polygons in EPSG:4326, or None if the scene is not georeferenced.
            valid_fraction: float32 (N,), 0 to 1.
            skipped: number of windows without a chip, for too few valid pixels.
        """
        count = len(codes)
        if codes.shape != (count, self.archive.bits // 8):
            raise ValueError(
                f"codes of archive '{self.archive.name}' are ({count}, {self.archive.bits // 8}), "
                f"not {codes.shape}"
            )
        row = scene_row(self._added_scenes, scene, skipped)
        chips = chip_rows(
            self._added_chips, self._added_scenes, codes, windows, footprints, valid_fraction,
            self.layer,
        )  # fmt: skip
        self._scenes.append(_Waiting(row, count, list(chips)))
        self._added_scenes += 1
        self._added_chips += count
        self.waiting += count

    def store(
        self, scene: Scene, blocks: Iterator[ChipBlock], *, skipped: Callable[[], int]
    ) -> int:
        """Stores a scene at once, in one transaction, with chips that are read meanwhile.

        Memory is bounded by a block, however many chips the scene has.  Scenes that were added are
        stored before.

        Args:
            blocks: its chips, in the order of their ids.
            skipped: number of its windows without a chip, called after the last block.

        Returns:
            The number of chips.

        Raises:
            InputError: PostgreSQL cannot store the scene or a chip; or as ``blocks`` does.  Nothing
                of the scene is stored.
            ServerError, NotFound: as :meth:`flush`.
        """
        assert not self._scenes, "flush before store"
        first = 0
        try:
            with self._conn.transaction():
                self._conn.execute("SELECT dcsh.begin_load()")
                with self._conn.cursor().copy(_COPY_CHIPS) as copy:
                    copy.write(COPY_HEADER)
                    for count, rows in blocks:
                        for part in rows:
                            copy.write(part)
                        first += count
                    copy.write(COPY_TRAILER)
                self._copy_scenes([scene_row(0, scene, skipped())])
                self._end_load()
        except psycopg.Error as error:
            if not _is_refusal(error):
                raise translated(error) from error
            raise _unstorable(scene.uri, error) from error
        self._analyze()
        return first

    def flush(self) -> list[Refused]:
        """Stores the added scenes, in one transaction if the server accepts them all.

        Scenes that it refuses for their content are found by bisection and left out, so that one
        scene does not stop the others; ids do not depend on how the scenes are divided.

        Raises:
            ServerError: the server went away or cannot store anything; unstored scenes stay added.
            NotFound: the archive was dropped or replaced.
        """
        refused: list[Refused] = []
        suspect = None
        size = len(self._scenes)
        while self._scenes:
            part = _of_distinct_uris(self._scenes[:size])
            try:
                self._store(part)
                size = 2 * len(part)
            except psycopg.Error as error:
                if not _is_refusal(error):
                    raise translated(error) from error
                size = max(1, len(part) // 2)
                if len(part) > 1:
                    continue
                if _may_be_transient(error) and suspect is not part[0]:
                    suspect = part[0]
                    continue
                refused.append(_refused(part[0], error))
            del self._scenes[: len(part)]
            self.waiting -= sum(scene.chips for scene in part)
        self._analyze()
        return refused

    def rename(self, scenes: Sequence[Scene]) -> int:
        """Gives stored scenes, found by their content hashes, new URIs and metadata.

        In one transaction.  Chips keep their ids, except those of a scene whose URI now belongs to
        a renamed one and that is not renamed itself: its file has another content now, so it is
        removed.  Returns how many scenes were renamed.

        Raises:
            InputError: as :meth:`add`.
            ServerError, NotFound: as :meth:`flush`.
        """
        rows = [scene_row(n, scene, 0) for n, scene in enumerate(scenes)]
        with sql_errors(), self._conn.transaction():
            self._conn.execute("SELECT dcsh.begin_load()")
            self._copy_scenes(rows)
            return scalar(
                self._conn,
                int,
                "SELECT dcsh.rename_scenes(%s, archive_id => %s, model_sha256 => %s)",
                [self.archive.name, self.archive.id, self.archive.model_sha256],
            )

    def remove(self, uris: Sequence[str]) -> None:
        """Removes scenes and their chips, in one transaction.

        Raises:
            NotFound: the archive was dropped or replaced, or has no scene of that URI.
        """
        with sql_errors(), self._conn.transaction():
            self._conn.execute(
                "SELECT dcsh_private.lock_for_load(%s, %s, %s)",
                [self.archive.name, self.archive.id, self.archive.model_sha256],
            )
            for uri in uris:
                self._conn.execute("SELECT dcsh.remove_scene(%s, %s)", [self.archive.name, uri])

    def _store(self, scenes: Sequence[_Waiting]) -> None:
        """Stores scenes in one transaction."""
        with self._conn.transaction():
            self._conn.execute("SELECT dcsh.begin_load()")
            self._copy_scenes(scene.row for scene in scenes)
            with self._conn.cursor().copy(_COPY_CHIPS) as copy:
                copy.write(COPY_HEADER)
                for scene in scenes:
                    for rows in scene.chip_rows:
                        copy.write(rows)
                copy.write(COPY_TRAILER)
            self._end_load()

    def _end_load(self) -> None:
        """Moves the copied scenes and chips into the archive."""
        # Not one_row, which translates the errors that flush handles.
        [(_, chips)] = self._conn.execute(
            "SELECT * FROM dcsh.end_load(%s, archive_id => %s, model_sha256 => %s)",
            [self.archive.name, self.archive.id, self.archive.model_sha256],
        )
        self._stored += chips
        self._since_analyze += chips

    def _analyze(self) -> None:
        if self._since_analyze > ANALYZE_SHARE * self._stored:
            with sql_errors(), self._replacement_errors():
                # It would wait for REINDEX CONCURRENTLY with a snapshot, which that waits for.
                self._conn.execute(f'ANALYZE (SKIP_LOCKED) dcsh."{self.archive.name}"')
            self._since_analyze = 0

    def finish(self) -> None:
        """Ends a load after the last flush: counts random pairs, creates the index on the codes, if
        the server has it.

        Building it over all rows at once is faster than growing it with each flush, and puts
        similar codes together.  It is one transaction, so a load that is killed leaves no index or
        a complete one, and the next load creates it.

        Raises:
            ServerError: the server refuses; the rows are stored and can be searched without it.
        """
        with sql_errors():
            self._conn.execute("SELECT dcsh_private.store_pair_distances(%s)", [self.archive.name])
            self._conn.execute(
                "SELECT dcsh.create_code_index(%s) WHERE dcsh_private.has_hamming()",
                [self.archive.name],
            )

    def record_error(self, uri: str, message: str, hint: str | None) -> None:
        """Records that a scene could not be ingested; storing it later deletes the record."""
        with sql_errors(), self._replacement_errors():
            self._conn.execute(
                """
                INSERT INTO dcsh.ingest_error (archive_id, uri, message, hint)
                VALUES (%s, %s, %s, %s)
                ON CONFLICT (archive_id, uri) DO UPDATE
                    SET message = excluded.message, hint = excluded.hint, at = now()
                """,
                [self.archive.id, _recorded_uri(uri), message, hint],
            )

    def recorded_errors(self) -> set[str]:
        """The URIs that :meth:`record_error` recorded."""
        with sql_errors():
            rows = self._conn.execute(
                "SELECT uri FROM dcsh.ingest_error WHERE archive_id = %s", [self.archive.id]
            )
            return {uri for (uri,) in rows}

    def forget_errors(self, uris: Sequence[str]) -> None:
        """Deletes the records of :meth:`record_error` for ``uris``."""
        with sql_errors():
            self._conn.execute(
                "DELETE FROM dcsh.ingest_error WHERE archive_id = %s AND uri = ANY (%s)",
                [self.archive.id, [_recorded_uri(uri) for uri in uris]],
            )

    @contextmanager
    def _replacement_errors(self) -> Iterator[None]:
        """Raises NotFound for the errors of statements on an archive that no longer exists."""
        try:
            yield
        except (sqlstate.ForeignKeyViolation, sqlstate.UndefinedTable):
            raise NotFound(
                f"archive '{self.archive.name}' was dropped or replaced while it was being loaded",
                hint="rerun the command",
            ) from None

    def _copy_scenes(self, rows: Iterable[SceneRow]) -> None:
        with self._conn.cursor().copy(
            f"COPY pg_temp.dcsh_batch_scene ({SCENE_COLUMNS}) FROM STDIN"
        ) as copy:
            for row in rows:
                copy.write_row(row)


def _of_distinct_uris(scenes: Sequence[_Waiting]) -> Sequence[_Waiting]:
    """The longest prefix in which no URI repeats; a transaction stores each URI once."""
    seen: set[str] = set()
    for n, scene in enumerate(scenes):
        _, uri, *_ = scene.row
        if uri in seen:
            return scenes[:n]
        seen.add(uri)
    return scenes


_REFUSALS = ("22", "23", "54", "P0", "XX")
"""Classes of SQLSTATE of errors caused by the rows: data, constraints (also those of users' triggers
and row-level security), size limits, and PostGIS's errors on geometries."""


def _is_refusal(error: psycopg.Error) -> bool:
    """Whether an error is caused by the rows, not by the server or the archive."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError)
    return error.sqlstate[:2] in _REFUSALS or isinstance(error, sqlstate.WithCheckOptionViolation)


def _may_be_transient(error: psycopg.Error) -> bool:
    """Whether an error is caused by the rows only if it repeats.

    Citus reports a worker that closed the connection as an internal error, as PostGIS does an
    invalid geometry.
    """
    return (error.sqlstate or "").startswith("XX")


def _refused(scene: _Waiting, error: psycopg.Error) -> Refused:
    _, uri, *_, content_hash, _, skipped = scene.row
    return Refused(uri, content_hash, scene.chips, skipped, _unstorable(uri, error))


def _unstorable(uri: str, error: psycopg.Error) -> InputError:
    cause = translated(error)
    return InputError(f"{uri[:MESSAGE_URI]} cannot be stored: {cause.message}", hint=cause.hint)


def _recorded_uri(uri: str) -> str:
    """A URI of any bytes and any length as a key of ``dcsh.ingest_error``: valid, short and distinct."""
    text = storable(uri)
    if len(text) <= MESSAGE_URI:
        return text
    return f"{text[:MESSAGE_URI]}... ({hashlib.sha256(text.encode()).hexdigest()[:12]})"

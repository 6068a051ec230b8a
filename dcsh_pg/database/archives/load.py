"""Loading an archive: binary COPY into temporary tables, one set-based insert a transaction.

All that decides (ids, replacement, what is known) is SQL: ``dcsh.begin_load``, ``dcsh.end_load``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import psycopg
from psycopg import errors as sqlstate
from shapely.geometry import Polygon

from dcsh_pg.database.archives import spatial
from dcsh_pg.database.archives.registry import ArchiveRecord
from dcsh_pg.database.server.pg_errors import sql_errors, translated
from dcsh_pg.database.server.rows import one_row, scalar
from dcsh_pg.errors import DcshError, InputError, NotFound, UsageError, storable

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"

MESSAGE_URI = 300
"""Characters of a URI in the message of an error; what it is recorded under has at most as many."""

ANALYZE_SHARE = 0.2
"""Statistics are made anew when this share of the rows has come since the last time."""


class Scene(Protocol):
    """What is stored of a scene; :class:`dcsh_pg.imagery.SceneRecord` is one."""

    uri: str
    collection: str | None
    item_id: str | None
    acquired: datetime | None
    proj_code: str | None
    content_hash: str
    properties: dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """A scene that the server would not store.

    Attributes:
        uri, content_hash: of the scene.
        chips, skipped: how many it has, and has not.
        error: what the server said.
    """

    uri: str
    content_hash: str
    chips: int
    skipped: int
    error: DcshError


@dataclass(frozen=True)
class _Waiting:
    """A scene that was added: its row, and those of its chips in binary COPY format."""

    row: tuple
    chips: int
    chip_rows: list[bytes]


class Loader:
    """Puts scenes with their chips into an archive.

    Scenes are gathered by :meth:`add` and stored by :meth:`flush`, each whole or not at all.  Chip ids
    follow on the archive's last one, without gaps, in the order of ``add``, however the scenes are
    spread over flushes.  Of several scenes with one URI each replaces the one before.

    Attributes:
        archive: the archive to load.
        waiting: chips added since the last flush.

    Raises:
        UsageError: the connection is not in autocommit mode, so that flushes would not commit.
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
        self._layer = spatial.layer_of(conn)
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
            InputError: a text, a property or a footprint of the scene is none that PostgreSQL stores.

        Args:
            scene: its record.
            codes: packed, uint8 (N, K/8).
            windows: int32 (N, 4), col_off, row_off, width, height in pixels.
            footprints: N polygons in EPSG:4326, or None where there are none.
            valid_fraction: float32 (N,), 0 to 1.
            skipped: windows that have no chip for too few valid pixels.
        """
        count = len(codes)
        if codes.shape != (count, self.archive.bits // 8):
            raise ValueError(
                f"codes of archive '{self.archive.name}' are ({count}, {self.archive.bits // 8}), "
                f"not {codes.shape}"
            )
        row = _scene_fields(self._added_scenes, scene, skipped)
        chips = _chip_fields(codes, windows, valid_fraction)
        chips["n"] = self._added_chips + np.arange(count)
        chips["scene"] = self._added_scenes
        chip_rows = []
        for rows, geom in spatial.wire_footprints(footprints, count, self._layer):
            stream = np.empty(len(rows), [("chip", chips.dtype), ("geom", geom.dtype)])
            stream["chip"], stream["geom"] = chips[rows], geom
            chip_rows.append(stream.tobytes())
        self._scenes.append(_Waiting(row, count, chip_rows))
        self._added_scenes += 1
        self._added_chips += count
        self.waiting += count

    def flush(self) -> list[Refused]:
        """Stores what was added, in one transaction if the server takes it all.

        What it refuses for its content is found by halves and left out, so that one scene stops no
        other; ids do not depend on how the scenes are divided.

        Raises:
            ServerError: the server went away or cannot store anything; what is not stored waits.
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
                if _may_pass(error) and suspect is not part[0]:
                    suspect = part[0]
                    continue
                refused.append(_refused(part[0], error))
            del self._scenes[: len(part)]
            self.waiting -= sum(scene.chips for scene in part)
        self._analyze()
        return refused

    def rename(self, scenes: Sequence[Scene]) -> int:
        """Gives stored scenes, found by their content hashes, other URIs and what goes with them.

        In one transaction.  Chips and ids stay, but those of another scene that had one of these
        URIs and is not renamed itself: its file has the content of another now.  Returns how many
        were renamed.

        Raises:
            InputError: as :meth:`add`.
            ServerError, NotFound: as :meth:`flush`.
        """
        rows = [_scene_fields(n, scene, 0) for n, scene in enumerate(scenes)]
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
                "SELECT dcsh._lock_for_load(%s, %s, %s)",
                [self.archive.name, self.archive.id, self.archive.model_sha256],
            )
            for uri in uris:
                self._conn.execute("SELECT dcsh.remove_scene(%s, %s)", [self.archive.name, uri])

    def _store(self, scenes: Sequence[_Waiting]) -> None:
        """Stores scenes in one transaction."""
        with self._conn.transaction():
            self._conn.execute("SELECT dcsh.begin_load()")
            self._copy_scenes(scene.row for scene in scenes)
            with self._conn.cursor().copy(
                "COPY pg_temp.dcsh_batch_chip FROM STDIN (FORMAT binary)"
            ) as copy:
                copy.write(COPY_HEADER)
                for scene in scenes:
                    for rows in scene.chip_rows:
                        copy.write(rows)
                copy.write(COPY_TRAILER)
            _, chips = one_row(
                self._conn,
                "SELECT * FROM dcsh.end_load(%s, archive_id => %s, model_sha256 => %s)",
                [self.archive.name, self.archive.id, self.archive.model_sha256],
            )
        self._stored += chips
        self._since_analyze += chips

    def _analyze(self) -> None:
        if self._since_analyze > ANALYZE_SHARE * self._stored:
            with sql_errors(), self._replaced():
                self._conn.execute(f'ANALYZE dcsh."{self.archive.name}"')
            self._since_analyze = 0

    def finish(self) -> None:
        """Ends a load, after the last flush: makes the index on the codes, where there can be one.

        Building it over all rows at once is faster than growing it with each flush, and puts
        similar codes together.  It is made in one transaction, so a load that was killed leaves
        none or a good one, and the next one that ends makes up for it.

        Raises:
            ServerError: the server refuses; the rows are stored and searches work without it.
        """
        with sql_errors():
            self._conn.execute(
                "SELECT dcsh.create_code_index(%s) WHERE dcsh._has_hamming()", [self.archive.name]
            )

    def record_error(self, uri: str, message: str, hint: str | None) -> None:
        """Notes that a scene could not be ingested; forgotten when it is stored one day."""
        with sql_errors(), self._replaced():
            self._conn.execute(
                """
                INSERT INTO dcsh.ingest_error (archive_id, uri, message, hint)
                VALUES (%s, %s, %s, %s)
                ON CONFLICT (archive_id, uri) DO UPDATE
                    SET message = excluded.message, hint = excluded.hint, at = now()
                """,
                [self.archive.id, _recorded(uri), message, hint],
            )

    def recorded_errors(self) -> set[str]:
        """The URIs that :meth:`record_error` noted."""
        with sql_errors():
            rows = self._conn.execute(
                "SELECT uri FROM dcsh.ingest_error WHERE archive_id = %s", [self.archive.id]
            )
            return {uri for (uri,) in rows}

    def forget_errors(self, uris: Sequence[str]) -> None:
        """Takes back what :meth:`record_error` noted under ``uris``."""
        with sql_errors():
            self._conn.execute(
                "DELETE FROM dcsh.ingest_error WHERE archive_id = %s AND uri = ANY (%s)",
                [self.archive.id, [_recorded(uri) for uri in uris]],
            )

    @contextmanager
    def _replaced(self) -> Iterator[None]:
        """Names what an archive that is gone leads to outside of ``dcsh.end_load``."""
        try:
            yield
        except (sqlstate.ForeignKeyViolation, sqlstate.UndefinedTable):
            raise NotFound(
                f"archive '{self.archive.name}' was dropped or replaced while it was being loaded",
                hint="rerun the command",
            ) from None

    def _copy_scenes(self, rows: Iterable[tuple]) -> None:
        columns = (
            "n, uri, collection, item_id, acquired, proj_code, content_hash, properties, skipped"
        )
        with self._conn.cursor().copy(
            f"COPY pg_temp.dcsh_batch_scene ({columns}) FROM STDIN"
        ) as copy:
            for row in rows:
                copy.write_row(row)


def _of_distinct_uris(scenes: Sequence[_Waiting]) -> Sequence[_Waiting]:
    """The scenes before the first whose URI another of them has; one transaction stores a URI once."""
    seen: set[str] = set()
    for n, scene in enumerate(scenes):
        _, uri, *_ = scene.row
        if uri in seen:
            return scenes[:n]
        seen.add(uri)
    return scenes


_REFUSALS = ("22", "23", "54", "P0", "XX")
"""Classes of SQLSTATE of errors that follow from the rows: data, constraints (also of triggers and
row security that users made), limits on sizes, and what PostGIS says of geometries."""


def _is_refusal(error: psycopg.Error) -> bool:
    """Whether an error follows from what is stored, and not from the server or the archive."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError)
    return error.sqlstate[:2] in _REFUSALS or isinstance(error, sqlstate.WithCheckOptionViolation)


def _may_pass(error: psycopg.Error) -> bool:
    """Whether an error may come from elsewhere than the rows, and is one of theirs only if it repeats.

    Citus reports a worker that closed the connection as an internal error, as PostGIS does a geometry.
    """
    return (error.sqlstate or "").startswith("XX")


def _refused(scene: _Waiting, error: psycopg.Error) -> Refused:
    _, uri, *_, content_hash, _, skipped = scene.row
    said = translated(error)
    return Refused(
        uri,
        content_hash,
        scene.chips,
        skipped,
        InputError(f"{uri[:MESSAGE_URI]} cannot be stored: {said.message}", hint=said.hint),
    )


def _scene_fields(n: int, scene: Scene, skipped: int) -> tuple:
    """A row of ``dcsh_batch_scene``; InputError where PostgreSQL has no such text or JSON."""
    try:
        properties = json.dumps(scene.properties, allow_nan=False, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise _unstorable(scene, f"its properties are no JSON: {error}") from None
    texts = (scene.uri, scene.collection, scene.item_id, scene.proj_code, properties)
    for text in texts:
        if text is not None and storable(text) != text:
            raise _unstorable(scene, f"it has text that is not UTF-8, or NUL: {text[:80]!r}")
    if _NUL.search(properties):
        raise _unstorable(scene, "its properties have text with NUL")
    return (
        n, scene.uri, scene.collection, scene.item_id, scene.acquired, scene.proj_code,
        scene.content_hash, properties, skipped,
    )  # fmt: skip


def _recorded(uri: str) -> str:
    """What a failure is recorded under: a name of any bytes and any length, as text of some length."""
    text = storable(uri)
    if len(text) <= MESSAGE_URI:
        return text
    return f"{text[:MESSAGE_URI]}... ({hashlib.sha256(text.encode()).hexdigest()[:12]})"


_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""In JSON; a backslash before the backslash would make it the text itself."""


def _unstorable(scene: Scene, why: str) -> InputError:
    return InputError(
        f"{scene.uri[:MESSAGE_URI]} cannot be stored: {why}",
        hint="rename the file, or correct what tells of it",
    )


def _chip_fields(codes: np.ndarray, windows: np.ndarray, valid_fraction: np.ndarray) -> np.ndarray:
    """Rows of ``dcsh_batch_chip`` in binary COPY format up to the footprint, structured (N,).

    Every field is its length in bytes and then its value, big-endian; ``code`` is the number of
    bits and the packed bytes.
    """
    size = codes.shape[1]
    integers = ("n", "scene", "col_off", "row_off", "width", "height")
    layout: list[tuple] = [("fields", ">i2")]
    for name in integers:
        layout += [(f"{name}_length", ">i4"), (name, ">i4")]
    layout += [("valid_length", ">i4"), ("valid", ">f4")]
    layout += [("code_length", ">i4"), ("bits", ">i4"), ("code", "u1", (size,))]
    rows = np.empty(len(codes), layout)
    rows["fields"] = len(integers) + 3
    for name in (*integers, "valid"):
        rows[f"{name}_length"] = 4
    for column, name in enumerate(integers[2:]):
        rows[name] = np.asarray(windows).reshape(-1, 4)[:, column]
    rows["valid"] = valid_fraction
    rows["code_length"], rows["bits"], rows["code"] = 4 + size, 8 * size, codes
    return rows

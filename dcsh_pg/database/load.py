"""Loading an archive: binary COPY into temporary tables, one set-based insert a transaction.

All that decides (ids, replacement, what is known) is SQL: ``dcsh.begin_load``, ``dcsh.end_load``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import psycopg
from psycopg import errors as sqlstate
from psycopg.types.json import Jsonb
from shapely.geometry import Polygon

from dcsh_pg.database import spatial
from dcsh_pg.database.connection import sql_errors
from dcsh_pg.database.registry import ArchiveRecord
from dcsh_pg.errors import NotFound, UsageError

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"

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


class Loader:
    """Puts scenes with their chips into an archive.

    Scenes are gathered by :meth:`add` and stored by :meth:`flush`, all of them or none.  Chip ids
    follow on the archive's last one, without gaps, in the order of ``add``, however the scenes are
    spread over flushes.

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
                hint="open it with dcsh_pg.database.connection.connect",
            )
        self.archive = archive
        self.waiting = 0
        self._conn = conn
        self._layer = spatial.layer_of(conn)
        self._scenes: list[tuple[Scene, int]] = []
        self._rows: list[bytes] = []
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
        chips = _chip_fields(codes, windows, valid_fraction)
        chips["n"] = self.waiting + np.arange(count)
        chips["scene"] = len(self._scenes)
        for rows, geom in spatial.wire_footprints(footprints, count, self._layer):
            stream = np.empty(len(rows), [("chip", chips.dtype), ("geom", geom.dtype)])
            stream["chip"], stream["geom"] = chips[rows], geom
            self._rows.append(stream.tobytes())
        self._scenes.append((scene, skipped))
        self.waiting += count

    def flush(self) -> None:
        """Stores what was added, in one transaction.

        Raises:
            ServerError: the server refused it or went away; nothing of it is stored.
        """
        if not self._scenes:
            return
        with sql_errors(), self._conn.transaction():
            self._conn.execute("SELECT dcsh.begin_load()")
            self._copy_scenes()
            with self._conn.cursor().copy(
                "COPY pg_temp.dcsh_batch_chip FROM STDIN (FORMAT binary)"
            ) as copy:
                copy.write(COPY_HEADER)
                for rows in self._rows:
                    copy.write(rows)
                copy.write(COPY_TRAILER)
            _, chips = self._conn.execute(
                "SELECT * FROM dcsh.end_load(%s, archive_id => %s, model_sha256 => %s)",
                [self.archive.name, self.archive.id, self.archive.model_sha256],
            ).fetchone()
        self._scenes, self._rows, self.waiting = [], [], 0
        self._stored += chips
        self._since_analyze += chips
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
                [self.archive.id, uri, message, hint],
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
                [self.archive.id, list(uris)],
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

    def _copy_scenes(self) -> None:
        columns = (
            "n, uri, collection, item_id, acquired, proj_code, content_hash, properties, skipped"
        )
        with self._conn.cursor().copy(
            f"COPY pg_temp.dcsh_batch_scene ({columns}) FROM STDIN"
        ) as copy:
            for n, (scene, skipped) in enumerate(self._scenes):
                copy.write_row(
                    (
                        n, scene.uri, scene.collection, scene.item_id, scene.acquired,
                        scene.proj_code, scene.content_hash, Jsonb(scene.properties), skipped,
                    )
                )  # fmt: skip


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

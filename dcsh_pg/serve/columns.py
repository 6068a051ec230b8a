"""The chips of an archive as columns in files that all workers map: to compare every chip in milliseconds.

SQL takes a second for a few million chips (``dcsh.similarity_surface``); these files, in the order of
places, some tens of milliseconds.  They are read once, in the background, and again when the archive changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
from psycopg import sql

from dcsh_pg.archive import Archive
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import scalar
from dcsh_pg.serve.footprint_tiles import to_mercator_unit

MOST_CHIPS = 20_000_000
"""Of an archive that is read as columns, at 24 bytes each with codes of 64 bits."""

PLACE_ZOOM = 24
"""Zoom of the cells that chips are placed in; its two numbers are 48 bits."""

NOWHERE = np.uint64(2**63)
"""Place of a chip without footprint; the last in the order."""

WAIT_SECONDS = 1
"""How long a request waits for the columns; a small archive is read in this time."""

ROWS = 200_000
"""Read at a time."""

log = logging.getLogger(__name__)


class Preparing(Exception):
    """The columns are being read."""


@dataclass(frozen=True)
class Columns:
    """The N chips of an archive, in the order of places.

    Attributes:
        code: unsigned integers (W, N) in the machine's byte order of memory: the packed codes, word by word.
        place: uint64 (N,): the cell at ``PLACE_ZOOM`` with the bits of its y and x interleaved, or ``NOWHERE``.
        time: int32 (N,): position in ``times``.
        scene: int32 (N,): position in ``scenes``.
        times: float64 (T,): ascending seconds since 1970, the last NaN if chips have none.
        scenes: int64 (S,): ascending ids of scenes.
    """

    code: np.ndarray
    place: np.ndarray
    time: np.ndarray
    scene: np.ndarray
    times: np.ndarray
    scenes: np.ndarray


class ColumnStore:
    """The columns of archives in a folder that the workers of a server share."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, Columns] = {}
        self._reading: dict[str, threading.Thread] = {}

    def get(
        self,
        conn: psycopg.Connection,
        archive: Archive,
        connect: Callable[[], AbstractContextManager[psycopg.Connection]],
    ) -> Callable[[], Columns] | None:
        """What waits for the columns of an archive; None if it is too large for them.

        Args:
            connect: opens the connection that they are read by.

        Raises, when called:
            Preparing: they are not read yet.
        """
        record = archive.record
        if not 0 < record.chips <= MOST_CHIPS:
            return None
        newest = scalar(conn, int, sql.SQL("SELECT max(id) FROM dcsh.{}").format(sql.Identifier(record.name)))  # fmt: skip
        key = (record.id, record.model_sha256, record.scenes, record.chips, newest)
        name = f"{record.id}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}"

        def wait() -> Columns:
            return self._opened(name) or self._read(name, record.name, record.bits, connect)

        return wait

    def _opened(self, name: str) -> Columns | None:
        with self._lock:
            if name not in self._known and (self._folder / name).is_dir():
                fields = Columns.__dataclass_fields__
                columns = {
                    field: np.load(self._folder / name / f"{field}.npy", mmap_mode="r")
                    for field in fields
                }
                for older in [key for key in self._known if same_archive(key, name)]:
                    del self._known[older]
                self._known[name] = Columns(**columns)
            return self._known.get(name)

    def _read(
        self,
        name: str,
        archive_name: str,
        bits: int,
        connect: Callable[[], AbstractContextManager[psycopg.Connection]],
    ) -> Columns:
        def work() -> None:
            try:
                with (self._folder / f"{name}.lock").open("w") as lock, connect() as conn:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    if not (self._folder / name).is_dir():
                        self._write(name, read(conn, archive_name, bits))
            except Exception:
                log.exception("the chips of archive '%s' cannot be read as columns", archive_name)
            finally:
                with self._lock:
                    del self._reading[name]

        with self._lock:
            thread = self._reading.get(name)
            if thread is None:
                thread = self._reading[name] = threading.Thread(target=work, daemon=True)
                thread.start()
        thread.join(WAIT_SECONDS)
        columns = self._opened(name)
        if columns is None:
            raise Preparing
        return columns

    def _write(self, name: str, columns: Columns) -> None:
        made = self._folder / f"{name}.new"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        for field, column in vars(columns).items():
            np.save(made / f"{field}.npy", column)
        made.rename(self._folder / name)
        for older in self._folder.iterdir():
            if older.is_dir() and same_archive(older.name, name):
                shutil.rmtree(older, ignore_errors=True)  # who has mapped them keeps them


def same_archive(key: str, name: str) -> bool:
    """Whether a key is another one of the same archive."""
    return key != name and key.split("-")[0] == name.split("-")[0]


def read(conn: psycopg.Connection, archive_name: str, bits: int) -> Columns:
    """The columns of an archive as they are now; about 30 bytes a chip, twice while they are ordered."""
    row = np.dtype(
        [("fields", ">i2"), ("code_bytes", ">i4"), ("bits", ">i4"), ("code", "u1", bits // 8)]
        + [part for name in ("x", "y", "time") for part in ((f"{name}_bytes", ">i4"), (name, ">f8"))]
        + [("scene_bytes", ">i4"), ("scene", ">i8")]
    )  # fmt: skip
    parts = [
        (
            chunk["code"].copy(),
            place_of(chunk["x"] / 2, chunk["y"] / 2),
            chunk["time"].astype(float),
            chunk["scene"].astype(np.int64),
        )
        for chunk in _rows(conn, archive_name, row)
    ]
    code, place, time, scene = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(place, kind="stable")
    times, time_at = np.unique(time, return_inverse=True)
    scenes, scene_at = np.unique(scene, return_inverse=True)
    return Columns(
        words(code[order]),
        place[order],
        time_at.astype(np.int32)[order],
        scene_at.astype(np.int32)[order],
        times,
        scenes,
    )


def _rows(conn: psycopg.Connection, archive_name: str, row: np.dtype) -> Iterator[np.ndarray]:
    """The chips of an archive, ``ROWS`` at a time: COPY in binary, whose rows have one length here."""
    statement = sql.SQL(
        "COPY (SELECT c.code, "
        "coalesce(dcsh_private.west(c.geom) + dcsh_private.east(c.geom), 'nan'), "
        "coalesce(dcsh_private.south(c.geom) + dcsh_private.north(c.geom), 'nan'), "
        "coalesce(extract(epoch FROM c.acquired)::float8, 'nan'), c.scene_id "
        "FROM dcsh.{} c) TO STDOUT (FORMAT binary)"
    ).format(sql.Identifier(archive_name))
    head, pending = 19, bytearray()
    with sql_errors(), conn.cursor().copy(statement) as copy:
        for data in copy:
            pending += data
            if len(pending) > ROWS * row.itemsize + head:
                whole = (len(pending) - head) // row.itemsize
                yield np.frombuffer(bytes(pending), row, whole, head)
                pending, head = pending[head + whole * row.itemsize :], 0
        yield np.frombuffer(bytes(pending), row, (len(pending) - head) // row.itemsize, head)


def words(code: np.ndarray) -> np.ndarray:
    """Packed codes uint8 (N, B) as the fewest whole words (W, N)."""
    size = next(size for size in (8, 4, 2, 1) if code.shape[1] % size == 0)
    return np.ascontiguousarray(np.ascontiguousarray(code).view(f"u{size}").T)


def place_of(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """The cell at ``PLACE_ZOOM`` of places in degrees, uint64 (N,); ``NOWHERE`` for NaN."""
    x, y = to_mercator_unit(lon, lat)
    side = 2.0**PLACE_ZOOM
    place = np.full(len(lon), NOWHERE)
    known = ~np.isnan(x)
    column, line = (
        np.clip(np.floor(part[known] * side), 0, side - 1).astype(np.uint64) for part in (x, y)
    )
    place[known] = spread(column) | spread(line) << np.uint64(1)
    return place


def spread(number: np.ndarray) -> np.ndarray:
    """The bits of uint64 numbers below 2^32, each before a 0."""
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        number = (number | number << np.uint64(shift)) & np.uint64(mask)
    return number


def gathered(place: np.ndarray) -> np.ndarray:
    """Every second bit of uint64 numbers, from the last: the inverse of :func:`spread`."""
    place = place & np.uint64(0x5555555555555555)
    for shift, mask in (
        (1, 0x3333333333333333),
        (2, 0x0F0F0F0F0F0F0F0F),
        (4, 0x00FF00FF00FF00FF),
        (8, 0x0000FFFF0000FFFF),
        (16, 0x00000000FFFFFFFF),
    ):
        place = (place | place >> np.uint64(shift)) & np.uint64(mask)
    return place

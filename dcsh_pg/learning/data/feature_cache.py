"""Features on disk, so that each is computed once."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcsh_pg.errors import OutputError
from dcsh_pg.learning.data.computing import Precision, Way

COMMIT_SECONDS = 2.0
"""At most so much computing is lost with a killed run."""
_ASKED_AT_ONCE = 500


class FeatureCache:
    """Features on disk, and the precision in which encoders compute them.

    An SQLite file has a row for each image, encoder, view and way of computing.  With ``memory`` rows
    are also kept in memory, for a program that fits many hash functions to the same images.

    Attributes:
        precision: 'float32', 'bfloat16' or 'auto'; see ``computing.Way``.
    """

    def __init__(
        self, folder: Path | None, *, precision: Precision = "float32", memory: bool = False
    ):
        """Opens the cache.

        Args:
            folder: of the file, created if missing; None keeps nothing on disk.

        Raises:
            OutputError: the folder cannot be written.
        """
        self.precision: Precision = precision
        self._rows: dict[bytes, np.ndarray] | None = {} if memory else None
        self._connection: sqlite3.Connection | None = None
        self._waiting: dict[bytes, bytes] = {}
        self._committed = time.monotonic()
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(folder / "features.sqlite", timeout=60)
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS feature (key BLOB PRIMARY KEY, value BLOB NOT NULL)"
            )
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"cannot keep features in {folder}: {error}",
                hint="choose a writable folder with --cache",
            ) from error

    def close(self) -> None:
        self.commit()
        if self._connection is not None:
            self._connection.close()

    @property
    def keeps(self) -> bool:
        """Whether rows are kept on disk or in memory."""
        return self._connection is not None or self._rows is not None

    def key(self, encoder: str, view: object, image: bytes, way: Way = Way()) -> bytes:
        """The key of one row.

        Args:
            encoder: its ``encoder_digest``.
            view: a ``features.View``.
            image: its ``image_digest``.
        """
        return hashlib.sha256(f"{encoder} {view}{way.key}".encode() + image).digest()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The rows with these keys that exist, float32 (dim,) each."""
        found = {key: self._rows[key] for key in keys if key in self._rows} if self._rows else {}
        found |= {
            key: np.frombuffer(self._waiting[key], np.float32)
            for key in keys
            if key in self._waiting
        }
        asked = [key for key in keys if key not in found]
        for first in range(0, len(asked), _ASKED_AT_ONCE):
            found |= self._read(asked[first : first + _ASKED_AT_ONCE])
        return found

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        if self._connection is None:
            return {}
        marks = ",".join("?" * len(keys))
        rows = self._connection.execute(
            f"SELECT key, value FROM feature WHERE key IN ({marks})", keys
        )
        read = {key: np.frombuffer(value, np.float32) for key, value in rows}
        if self._rows is not None:
            self._rows.update(read)
        return read

    def put(self, keys: Sequence[bytes], features: np.ndarray) -> None:
        """Stores rows float32 (N, dim); on disk they are after ``commit`` at the latest."""
        if self._rows is not None:
            self._rows.update(zip(keys, features, strict=True))
        if self._connection is None:
            return
        self._waiting.update((key, row.tobytes()) for key, row in zip(keys, features, strict=True))
        if time.monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Writes what waits, in one short transaction: others may write to the file too."""
        if self._connection is not None and self._waiting:
            with self._connection:
                self._connection.executemany(
                    "INSERT OR IGNORE INTO feature VALUES (?, ?)", self._waiting.items()
                )
        self._waiting.clear()
        self._committed = time.monotonic()

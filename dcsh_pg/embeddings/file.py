"""A file of embeddings: a scene whose chips come with their vectors instead of pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from shapely.geometry import Polygon

from dcsh_pg.embeddings.making import Columns, Making
from dcsh_pg.errors import InputError
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.metadata.origin import Origin, remote_identity
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Chips, Scene

BLOCK_BYTES = 32 << 20
"""About how many bytes of float32 a block has."""
MAX_DIMENSION = 10_000


@dataclass(frozen=True, eq=False)
class Vectors:
    """Embeddings of one file, some at a time.

    Attributes:
        values: float32 (N, D), finite.
        windows: int32 (N, 4), col_off, row_off, width, height in pixels; of a row of a table
            0, its number in the file, 1, 1.
        footprints: None without a georeference; or EPSG:4326, counter-clockwise: rings float64 (N, M, 2), closed, or N polygons.
        valid_fraction: float32 (N,).
        acquired: datetime64[us] (N,), UTC, NaT where unknown; or None where only the scene has a
            time.
        skipped: chips left out since the last block, for too few valid pixels.
    """

    values: np.ndarray
    windows: np.ndarray
    footprints: np.ndarray | list[Polygon] | None
    valid_fraction: np.ndarray
    acquired: np.ndarray | None = None
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Using:
    """How files of embeddings are read.

    Attributes:
        making: from stored numbers to vectors.
        reading: how rasters are cut into the chips over which they are pooled.
        columns: of tables.
        options: how rasters are opened and dated.
    """

    making: Making = field(default_factory=Making)
    reading: Reading = field(default_factory=Reading)
    columns: Columns = field(default_factory=Columns)
    options: SceneOptions = field(default_factory=SceneOptions)


class EmbeddingFile(Scene):
    """A file of embeddings.  Creating one opens nothing.

    Attributes:
        name: of the file below its source.
        using: how it is read.
    """

    def __init__(self, uri: str, name: str, using: Using):
        super().__init__(uri, using.reading)
        self.name, self.using = name, using

    @abstractmethod
    def vectors(self) -> Iterator[Vectors]:
        """All chips, a block of bounded size at a time.

        Raises:
            InputError: the file cannot be read, or a vector or a footprint of it is unusable.
        """

    def when(self) -> datetime | None:
        """Acquisition time of the file, from the options or its name."""
        return Origin(self.name, options=self.using.options).when({})

    def read(self, windows: np.ndarray) -> Chips:
        raise InputError(f"{self.uri} has embeddings and no pixels")

    def close(self) -> None:
        """Nothing stays open between calls."""


def rows_at_once(dimension: int) -> int:
    """Rows of a block."""
    return max(1, min(65_536, BLOCK_BYTES // (4 * max(1, dimension))))


def row_windows(first: int, count: int) -> np.ndarray:
    """The windows of rows of a table: int32 (count, 4)."""
    windows = np.ones((count, 4), np.int32)
    windows[:, 0] = 0
    windows[:, 1] = np.arange(first, first + count)
    return windows


def identity(path: str, *others: object) -> str:
    """SHA-256 of a file's bytes, and of what else decides its vectors -> 64 hexadecimal characters.

    Raises:
        InputError: the file cannot be read.
    """
    found = Origin(path).identity(Path(path), is_georeferenced=True)
    return remote_identity([found, *others]) if others else found


def check_finite(values: np.ndarray, first: int, uri: str) -> None:
    """Raises InputError where a row of a table, (N, D) from row ``first`` on, is not finite."""
    if np.isfinite(values).all():
        return
    row = first + int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
    raise InputError(
        f"{uri}: the embedding of row {row} has NaN or infinite numbers",
        hint="remove the row; rows are counted from 0",
    )


def load(path: str) -> np.ndarray:
    """A numpy file, mapped into memory.

    Raises:
        InputError: it cannot be read, or has other things than numbers.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise InputError(
            f"{path} cannot be read: {reason}", hint="write it with numpy.save(path, array)"
        ) from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        raise InputError(f"{path} is not an array of numbers", hint="numpy.save(path, array)")
    return found

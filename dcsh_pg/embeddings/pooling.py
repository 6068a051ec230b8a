"""Rasters of embeddings -> a vector for each chip: statistics over the valid pixels of a window."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from shapely.geometry import Polygon

from dcsh_pg.embeddings.file import MAX_DIMENSION, EmbeddingFile, Vectors
from dcsh_pg.embeddings.making import Making
from dcsh_pg.errors import InputError
from dcsh_pg.imagery import grid
from dcsh_pg.imagery.georeference.affine import AffineGeoreference
from dcsh_pg.imagery.grid import NO_WINDOWS
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import SceneRecord

REGION_BYTES = 64 << 20
"""About how many bytes of float32 pixels are in memory."""


class Pixels:
    """An open raster whose bands are the numbers of an embedding.

    Attributes:
        width, height: in pixels.
        dimension: number of bands.
        block: width and height of the blocks that it is stored in.
        georeference: where it lies, or None.
    """

    width: int
    height: int
    dimension: int
    block: tuple[int, int] = (256, 256)
    georeference: AffineGeoreference | None = None

    def read(self, left: int, top: int, width: int, height: int) -> np.ndarray:
        """Dequantised pixels of a window within the raster, float32 (D, height, width); invalid
        ones are NaN in one number or more."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Region:
    """Chips that are read together: rows and columns of the grid."""

    columns: np.ndarray
    rows: np.ndarray


class PooledFile(EmbeddingFile):
    """A raster of embeddings."""

    FORMAT: str

    @abstractmethod
    def pixels(self) -> AbstractContextManager[Pixels]:
        """Opens the raster.

        Raises:
            InputError: it cannot be read.
        """

    @abstractmethod
    def content(self) -> str:
        """Content hash, 64 hexadecimal characters."""

    def describe(self) -> SceneRecord:
        with self.pixels() as pixels:
            place = self._check(pixels)
            grid.windows(pixels.width, pixels.height, self.reading, uri=self.uri)
            return SceneRecord(
                uri=self.uri,
                content_hash=self.content(),
                width=pixels.width,
                height=pixels.height,
                windows=NO_WINDOWS,
                acquired=self.when(),
                proj_code=place.proj_code if place else None,
                resolution=place.resolution(pixels.width, pixels.height) if place else None,
                properties={"format": self.FORMAT, "dimension": pixels.dimension},
            )

    def vectors(self) -> Iterator[Vectors]:
        with self.pixels() as pixels:
            place = self._check(pixels)
            anchor = place.origin if place and self.reading.anchor else (0.0, 0.0)
            for region in _regions(pixels, self.reading, anchor):
                yield self._block(pixels, region, place)

    def _check(self, pixels: Pixels) -> AffineGeoreference | None:
        if not 1 <= pixels.dimension * len(self.using.making.pool) <= MAX_DIMENSION:
            raise InputError(f"{self.uri} has {pixels.dimension} bands, more than {MAX_DIMENSION}")
        if pixels.georeference is None and self.using.options.georeference:
            raise InputError(
                f"{self.uri} is not georeferenced",
                hint="set its coordinate reference system and transform, or give --no-georeference",
            )
        return pixels.georeference if self.using.options.georeference else None

    def _block(self, pixels: Pixels, region: _Region, place: AffineGeoreference | None) -> Vectors:
        size = self.reading.chip_size or 0
        width, height = (size, size) if size else (pixels.width, pixels.height)
        values, fraction = pooled(pixels, region, (width, height), self.using.making)
        columns, rows = np.meshgrid(region.columns, region.rows)
        windows = np.empty((columns.size, 4), np.int32)
        windows[:, 0], windows[:, 1] = columns.ravel(), rows.ravel()
        windows[:, 2:] = width, height
        kept = (fraction > 0) & (fraction >= self.reading.min_valid)
        windows = windows[kept]
        footprints: np.ndarray | list[Polygon] | None = None
        if place is not None:
            footprints = place.rings(windows)
        return Vectors(
            values[kept],
            windows,
            footprints,
            fraction[kept],
            skipped=int(np.count_nonzero(~kept)),
        )


def _regions(pixels: Pixels, reading: Reading, anchor: tuple[float, float]) -> Iterator[_Region]:
    """The grid of chips in parts of bounded size, along the blocks of the raster."""
    size, step = reading.chip_size, reading.step
    zero = np.zeros(1, np.int32)
    if size is None or step is None:
        yield _Region(zero, zero)
        return
    most = max(size, int(np.sqrt(REGION_BYTES / 4 / pixels.dimension)))
    width = max(size, min(most, max(pixels.block[0], size)))
    width = max(width, min(pixels.width, most * most // max(size, min(most, pixels.block[1]))))
    height = max(size, min(most, pixels.block[1]))
    columns = grid.offsets(pixels.width, size, step, reading.edge, anchor[0])
    rows = grid.offsets(pixels.height, size, step, reading.edge, anchor[1])
    for some_rows in _parts(rows, max(1, (height - size) // step + 1)):
        for some_columns in _parts(columns, max(1, (width - size) // step + 1)):
            yield _Region(some_columns, some_rows)


def _parts(offsets: np.ndarray, count: int) -> Iterator[np.ndarray]:
    for first in range(0, len(offsets), count):
        yield offsets[first : first + count]


def pooled(
    pixels: Pixels, region: _Region, size: tuple[int, int], making: Making
) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of a region's chips, row-major: float32 (N, D * statistics); and the fraction of
    valid pixels, float32 (N,).  Pixels outside of the raster are not valid; of a chip without valid
    pixels the vector is 0."""
    width, height = size
    left, right = int(region.columns[0]), int(region.columns[-1]) + width
    found, counts = [], []
    for top in region.rows.tolist():
        row = _padded(pixels, left, top, right - left, height)
        chips = np.lib.stride_tricks.sliding_window_view(row, width, axis=2)
        chips = chips[:, :, region.columns - left].transpose(2, 0, 1, 3)  # (n, D, height, width)
        valid = ~np.isnan(chips).any(axis=1)
        counts.append(valid.sum(axis=(1, 2)))
        found.append(_statistics(chips, valid, making.pool))
    fraction = np.concatenate(counts).astype(np.float32) / (width * height)
    return np.concatenate(found), fraction


def _padded(pixels: Pixels, left: int, top: int, width: int, height: int) -> np.ndarray:
    """Pixels of a window that may leave the raster, where they are NaN."""
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + width, pixels.width), min(top + height, pixels.height)
    inside = pixels.read(x0, y0, x1 - x0, y1 - y0)
    if inside.shape[1:] == (height, width):
        return inside
    row = np.full((pixels.dimension, height, width), np.nan, np.float32)
    row[:, y0 - top : y1 - top, x0 - left : x1 - left] = inside
    return row


def _statistics(chips: np.ndarray, valid: np.ndarray, pool: tuple[str, ...]) -> np.ndarray:
    """Chips (n, D, h, w) with their valid pixels (n, h, w) -> float32 (n, D * len(pool))."""
    count = np.maximum(valid.sum(axis=(1, 2)), 1)[:, None]
    shown = valid[:, None]
    found = []
    for name in pool:
        if name in ("mean", "std"):
            mean = np.where(shown, chips, 0).sum(axis=(2, 3), dtype=np.float64) / count
            if name == "std":
                apart = np.where(shown, chips - mean[:, :, None, None], 0)
                mean = np.sqrt(np.square(apart).sum(axis=(2, 3), dtype=np.float64) / count)
            found.append(mean)
        else:
            extreme, reduce = (np.inf, np.min) if name == "min" else (-np.inf, np.max)
            found.append(reduce(np.where(shown, chips, extreme), axis=(2, 3)))
    values = np.concatenate(found, axis=1).astype(np.float32)
    values[~valid.any(axis=(1, 2))] = 0
    return values

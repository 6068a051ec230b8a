"""Resamples windows: each pixel becomes the mean of the valid ground that it covers.

The same rule enlarges and reduces, whatever the ratio, and needs no more than the pixels under the window.
GDAL's own resampling rounds windows and treats masks, nodata and NaN in different ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.pixel_types import UINT8, to_type

NEAR_WHOLE = 0.02
"""A ratio of resolutions this near to a whole one, or to the inverse of one, is taken as that."""

MOST, LEAST = 1024.0, 1 / 64
"""Of the ratio of resolutions."""

STRIP_VALUES = 1 << 22
"""Numbers read at once, at least those of one row of the result."""

ReadReduced = Callable[[int, int, int, int, int], tuple[np.ndarray, np.ndarray]]
"""Left, top, width, height within the scene, and a factor of reduction -> pixels (H, W, C), one for each
block of so many pixels a side, and which are valid, bool (H, W)."""


@dataclass(frozen=True)
class Raster:
    """Pixels that can be read in windows.

    Attributes:
        width, height: in pixels.
        read: reads them.
        overviews: factors of reduction that cost less than reading all pixels.
        columns, rows: scale and offset from pixel positions of the scene to those of this raster.
    """

    width: int
    height: int
    read: ReadReduced
    overviews: Sequence[int] = ()
    columns: tuple[float, float] = (1.0, 0.0)
    rows: tuple[float, float] = (1.0, 0.0)


def factor_of(reading: Reading, resolution: float | None, *, uri: str) -> float:
    """Pixels of a scene, a side, that one pixel of the reading's resolution covers.

    Args:
        resolution: of the scene, in metres per pixel.

    Raises:
        InputError: the scene's resolution is unknown, or so far from the reading's that chips say nothing.
    """
    if reading.resolution is None:
        return 1.0
    if resolution is None:
        raise InputError(
            f"{uri} has no ground resolution to change to {reading.resolution:g} m",
            hint="give its place with --sidecar, or make an archive without --resolution",
        )
    factor = reading.resolution / resolution
    if not LEAST <= factor <= MOST:
        raise InputError(
            f"{uri} has {resolution:.3g} m per pixel, too far from {reading.resolution:g} m",
            hint="ingest it into an archive of another --resolution",
        )
    whole = max(round(factor), 1) if factor >= 1 else 1 / round(1 / factor)
    return float(whole) if abs(factor - whole) <= NEAR_WHOLE * whole else factor


def sides(reading: Reading, factor: float) -> dict[int, int]:
    """The sides of the chips of a scene in its own pixels, and how often each is that of the first."""
    if reading.chip_size is None:
        return {}
    return {max(1, round(reading.chip_size * factor * n)): n for n in reading.multiscale or (1,)}


def shape_of(reading: Reading, factor: float, width: int, height: int) -> tuple[int, int]:
    """Rows and columns that a window of a scene gets: a chip's are those of the model."""
    if reading.chip_size is not None and width == height and width in sides(reading, factor):
        return reading.chip_size, reading.chip_size
    return max(1, round(height / factor)), max(1, round(width / factor))


def resample(
    raster: Raster, window: Sequence[float], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The means of a window.

    Args:
        window: left, top, width, height in pixels of the scene; may extend beyond it.
        shape: rows and columns of the result.

    Returns:
        float64 (H, W, C), and the share of each pixel's ground that is valid, float64 (H, W).
    """
    left, top, width, height = window
    x, y = (
        scale * (start + np.arange(count + 1) * (length / count)) + offset
        for (scale, offset), start, length, count in (
            (raster.columns, left, width, shape[1]),
            (raster.rows, top, height, shape[0]),
        )
    )
    step = min((x[-1] - x[0]) / shape[1], (y[-1] - y[0]) / shape[0])
    reduction = max((by for by in raster.overviews if by <= step * (1 + NEAR_WHOLE)), default=1)
    rows_at_once = _rows_at_once(raster, x, y, reduction)
    parts = [
        _strip(raster, x, y[first : first + rows_at_once + 1], reduction)
        for first in range(0, shape[0], rows_at_once)
    ]
    values, weights = zip(*parts, strict=True)
    ground = (x[1] - x[0]) * (y[1] - y[0]) / reduction**2
    return np.concatenate(_of_as_many_bands(values)), np.concatenate(weights) / ground


def as_pixels(values: np.ndarray, valid: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Means (..., C) as pixels of a type, invalid ones marked, and which are valid."""
    if dtype != UINT8:
        return to_type(values, valid, dtype)
    return np.where(valid[..., None], np.rint(values), 0).astype(np.uint8), valid


def _rows_at_once(raster: Raster, x: np.ndarray, y: np.ndarray, reduction: int) -> int:
    columns = max(1.0, (min(x[-1], raster.width) - max(x[0], 0)) / reduction)
    rows = max(1.0, (y[-1] - y[0]) / (len(y) - 1) / reduction)
    return max(1, int(STRIP_VALUES / (columns * rows)))


def _strip(
    raster: Raster, x: np.ndarray, y: np.ndarray, reduction: int
) -> tuple[np.ndarray, np.ndarray]:
    shape = (len(y) - 1, len(x) - 1)
    left, right = _within(x, raster.width, reduction)
    top, bottom = _within(y, raster.height, reduction)
    if left >= right or top >= bottom:
        return np.zeros((*shape, 0)), np.zeros(shape)
    pixels, valid = raster.read(left, top, right - left, bottom - top, reduction)
    x, y = x / reduction - left // reduction, y / reduction - top // reduction
    x, y = np.clip(x, 0, pixels.shape[1]), np.clip(y, 0, pixels.shape[0])
    values = np.where(valid[..., None], pixels, 0).astype(np.float64)
    weights = _sums(_sums(valid[..., None].astype(np.float64), y, 0), x, 1)
    means = _sums(_sums(values, y, 0), x, 1) / np.where(weights > 0, weights, 1)
    return means, weights[..., 0]


def _within(edges: np.ndarray, length: int, reduction: int) -> tuple[int, int]:
    """The pixels of one side under edges, from a whole block on."""
    first = int(np.floor(max(edges[0], 0) / reduction)) * reduction
    last = int(np.ceil(min(edges[-1], length) / reduction - 1e-9)) * reduction
    return min(first, length), min(last, length)


def _sums(values: np.ndarray, edges: np.ndarray, axis: int) -> np.ndarray:
    """Integrals of a function that is constant on each pixel, between neighbouring edges within it."""
    values = np.moveaxis(values, axis, 0)
    padded = np.concatenate([values, np.zeros_like(values[:1])])
    starts, ends = edges[:-1], edges[1:]
    first, last = np.ceil(starts).astype(int), np.floor(ends).astype(int)
    spans = np.stack([first, np.maximum(last, first)], axis=1).ravel()
    whole = np.add.reduceat(padded, spans, axis=0)[::2]
    whole[last <= first] = 0
    column = (slice(None),) + (None,) * (values.ndim - 1)
    is_inside = (last < first)[column]  # both edges within one pixel
    before = np.where(is_inside, (ends - starts)[column], (first - starts)[column])
    after = np.where(is_inside, 0.0, (ends - last)[column])
    left, right = padded[np.floor(starts).astype(int)], padded[np.minimum(last, len(values))]
    return np.moveaxis(whole + before * left + after * right, 0, axis)


def _of_as_many_bands(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Parts without a pixel of the scene get as many bands as the others."""
    bands = max(part.shape[2] for part in parts)
    return [part if part.shape[2] else np.zeros((*part.shape[:2], bands)) for part in parts]

"""Reads windows in strips of rows, and reduces windows that are too large for a model.

A model resizes its input to some hundred pixels a side.  A window of more than ``MAX_CHIP_PIXELS`` is
reduced first, by the same rule for archives, queries and training sets: by the smallest power of two
that leaves at most so many pixels, each the mean of its valid pixels.  Pixels of another type than
uint8 count by their bytes, as if the limit were three bands of uint8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dcsh_pg.pixel_types import UINT8, to_type

MAX_CHIP_PIXELS = 1 << 24
"""Pixels of the largest window that is not reduced: 4096 x 4096."""

STRIP_PIXELS = 1 << 20
"""Pixels read at once, at least one row."""

_PIXEL_BYTES = 3
"""Bytes of a pixel for which the limits are made."""

ReadPixels = Callable[[int, int, int, int], tuple[np.ndarray, np.ndarray]]
"""Left, top, width, height within the scene -> pixels (H, W, C) and which of them are valid, bool (H, W)."""


def reduction(width: int, height: int, pixel_bytes: int = _PIXEL_BYTES) -> int:
    """The factor by which a window is reduced, 1 for none."""
    factor = 1
    most = MAX_CHIP_PIXELS * _PIXEL_BYTES // max(pixel_bytes, _PIXEL_BYTES)
    while -(-width // factor) * -(-height // factor) > most:
        factor *= 2
    return factor


def reduced_shape(width: int, height: int, pixel_bytes: int = _PIXEL_BYTES) -> tuple[int, int]:
    """Rows and columns of the pixels of a window."""
    factor = reduction(width, height, pixel_bytes)
    return -(-height // factor), -(-width // factor)


def read_window(
    out: np.ndarray, window: Sequence[int], size: tuple[int, int], read: ReadPixels
) -> float:
    """Reads a window, which may extend beyond its scene, strip by strip.

    Args:
        out: (H, W, C) of :func:`reduced_shape`, all invalid: of uint8 0.
        window: col_off, row_off, width, height.
        size: width and height of the scene.
        read: reads within the scene.

    Returns:
        The fraction of the window's pixels that are valid.
    """
    left, top, width, height = window
    is_typed = str(out.dtype) != UINT8
    pixel_bytes = out.shape[2] * out.itemsize if is_typed else _PIXEL_BYTES
    factor = reduction(width, height, pixel_bytes)
    strip_pixels = STRIP_PIXELS * _PIXEL_BYTES // max(pixel_bytes, _PIXEL_BYTES)
    columns = slice(max(-left, 0), min(width, size[0] - left))
    rows_at_once = max(1, strip_pixels // (width * factor)) * factor
    valid_pixels = 0
    for start in range(0, height, rows_at_once):
        stop = min(start + rows_at_once, height)
        rows = slice(max(start, -top), min(stop, size[1] - top))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        pixels, valid = read(
            left + columns.start,
            top + rows.start,
            columns.stop - columns.start,
            rows.stop - rows.start,
        )
        valid_pixels += np.count_nonzero(valid)
        if factor == 1:
            out[rows, columns] = pixels
            continue
        strip = np.zeros((stop - start, width, out.shape[2]), out.dtype)
        counted = np.zeros((stop - start, width), np.uint8)
        inside = slice(rows.start - start, rows.stop - start)
        strip[inside, columns], counted[inside, columns] = pixels, valid
        means = _typed_block_means if is_typed else _block_means
        out[start // factor : -(-stop // factor)] = means(strip, counted, factor)
    return valid_pixels / (width * height)


def _block_means(pixels: np.ndarray, counted: np.ndarray, factor: int) -> np.ndarray:
    """Means over blocks of the valid pixels, 0 for a block without any, rounded half up."""
    sums = _block_sums(pixels, factor)
    counts = np.maximum(_block_sums(counted[..., None], factor), 1)
    means: np.ndarray = ((sums + counts // 2) // counts).astype(np.uint8)
    return means


def _typed_block_means(pixels: np.ndarray, counted: np.ndarray, factor: int) -> np.ndarray:
    """Means over blocks of the valid pixels, invalid for a block without any."""
    valid = np.where(counted[..., None] > 0, pixels, 0)
    counts = _block_sums(counted[..., None], factor)
    means = _block_sums(valid, factor, np.float64) / np.maximum(counts, 1)
    return to_type(means, counts[..., 0] > 0, str(pixels.dtype))[0]


def _block_sums(values: np.ndarray, factor: int, dtype: type = np.uint32) -> np.ndarray:
    rows, columns = (np.arange(0, length, factor) for length in values.shape[:2])
    sums = np.add.reduceat(values, rows, axis=0, dtype=dtype)
    return np.add.reduceat(sums, columns, axis=1)

"""Reads windows in strips of rows, and reduces windows that are too large for a model.

A model resizes its input to some hundred pixels a side.  A window of more than ``MAX_CHIP_PIXELS`` is
reduced first, by the same rule for archives, queries and training sets: by the smallest power of two
that leaves at most so many pixels, each the mean of its valid pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

MAX_CHIP_PIXELS = 1 << 24
"""Pixels of the largest window that is not reduced: 4096 x 4096."""

STRIP_PIXELS = 1 << 20
"""Pixels read at once, at least one row."""

ReadPixels = Callable[[int, int, int, int], tuple[np.ndarray, np.ndarray]]
"""Left, top, width, height within the scene -> uint8 (H, W, C), 0 where not valid, and bool (H, W)."""


def reduction(width: int, height: int) -> int:
    """The factor by which a window is reduced, 1 for none."""
    factor = 1
    while -(-width // factor) * -(-height // factor) > MAX_CHIP_PIXELS:
        factor *= 2
    return factor


def reduced_shape(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of the pixels of a window."""
    factor = reduction(width, height)
    return -(-height // factor), -(-width // factor)


def read_window(
    out: np.ndarray, window: Sequence[int], size: tuple[int, int], read: ReadPixels
) -> float:
    """Reads a window, which may extend beyond its scene, strip by strip.

    Args:
        out: uint8 (H, W, C) of :func:`reduced_shape`, all 0.
        window: col_off, row_off, width, height.
        size: width and height of the scene.
        read: reads within the scene.

    Returns:
        The fraction of the window's pixels that are valid.
    """
    left, top, width, height = window
    factor = reduction(width, height)
    columns = slice(max(-left, 0), min(width, size[0] - left))
    rows_at_once = max(1, STRIP_PIXELS // (width * factor)) * factor
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
        strip = np.zeros((stop - start, width, out.shape[2]), np.uint8)
        counted = np.zeros((stop - start, width), np.uint8)
        inside = slice(rows.start - start, rows.stop - start)
        strip[inside, columns], counted[inside, columns] = pixels, valid
        out[start // factor : -(-stop // factor)] = _block_means(strip, counted, factor)
    return valid_pixels / (width * height)


def _block_means(pixels: np.ndarray, counted: np.ndarray, factor: int) -> np.ndarray:
    """Means over blocks of the valid pixels, 0 for a block without any, rounded half up."""
    sums = _block_sums(pixels, factor)
    counts = np.maximum(_block_sums(counted[..., None], factor), 1)
    means: np.ndarray = ((sums + counts // 2) // counts).astype(np.uint8)
    return means


def _block_sums(values: np.ndarray, factor: int) -> np.ndarray:
    rows, columns = (np.arange(0, length, factor) for length in values.shape[:2])
    sums = np.add.reduceat(values, rows, axis=0, dtype=np.uint32)
    return np.add.reduceat(sums, columns, axis=1)

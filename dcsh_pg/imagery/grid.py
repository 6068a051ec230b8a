"""The grid of a scene's chips: fixed, by formula, in row-major order.

The edge policies, for a side of L pixels, chips of s pixels and a stride of t:

- ``shift``: the last chip is moved inward to end at L, so that every pixel is covered (if t <= s)
  without padding.  A scene smaller than a chip is padded.
- ``pad``: the last chip keeps its position on the grid and extends beyond the edge; pixels outside are
  0 and count as invalid.
- ``drop``: chips that do not fit are left out; a scene smaller than a chip has none.

An anchored grid has a corner at a given pixel position, which may lie far outside the scene.  Then
``pad`` and ``drop`` apply to the left and upper edge as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.reading import Edge, Reading

MAX_CHIPS = 10_000_000
"""Most chips of one scene: 1.6e11 pixels in adjacent chips of 128."""


class Windows:
    """Chip windows of a scene, row-major, computed when indexed.

    Indexed like an int32 array (N, 4); ``np.asarray`` makes that array.  Takes the memory of its rows
    and columns only.

    Args:
        columns, rows: offsets of the chips, int32.
        width, height: of each chip in pixels.
    """

    def __init__(self, columns: np.ndarray, rows: np.ndarray, width: int, height: int):
        self._columns, self._rows, self._size = columns, rows, (width, height)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), 4

    def __len__(self) -> int:
        return len(self._columns) * len(self._rows)

    def __getitem__(self, index: int | slice | tuple[Any, ...] | np.ndarray) -> np.ndarray:
        """int32 (4,) for an integer, (n, 4) for a slice or for n integers."""
        if isinstance(index, tuple):
            part: np.ndarray = np.asarray(self)[index]
            return part
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        chosen = np.asarray(index)
        if chosen.size and not (-len(self) <= chosen.min() and chosen.max() < len(self)):
            raise IndexError(f"chip {index} of {len(self)}")
        return self._at(chosen % max(len(self), 1))

    def _at(self, chosen: np.ndarray) -> np.ndarray:
        row, column = np.divmod(chosen, max(len(self._columns), 1))
        windows = np.empty((*chosen.shape, 4), dtype=np.int32)
        windows[..., 0], windows[..., 1] = self._columns[column], self._rows[row]
        windows[..., 2:] = self._size
        return windows

    def tolist(self) -> list[list[int]]:
        rows: list[list[int]] = self[:].tolist()
        return rows

    def __array__(self, dtype: np.dtype[Any] | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.int32, copy=False)


class SeveralWindows(Windows):
    """The windows of several grids, one grid after the other.  Arguments: the grids."""

    def __init__(self, grids: Sequence[Windows]):
        self._grids = grids
        self._ends = np.cumsum([len(grid) for grid in grids])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _at(self, chosen: np.ndarray) -> np.ndarray:
        windows = np.empty((*chosen.shape, 4), dtype=np.int32)
        of = np.searchsorted(self._ends, chosen, side="right")
        for number, grid in enumerate(self._grids):
            start = self._ends[number] - len(grid)
            windows[of == number] = grid[chosen[of == number] - start]
        return windows


NO_WINDOWS = Windows(np.empty(0, np.int32), np.empty(0, np.int32), 0, 0)


def offsets(length: int, size: int, stride: int, edge: Edge, anchor: float = 0) -> np.ndarray:
    """Offsets of the chips along one side of ``length`` pixels -> int32 (n,), ascending.

    ``anchor`` is the position of a grid line, rounded to a pixel.
    """
    first, count = _first_and_count(length, size, stride, edge, anchor)
    starts = first + np.arange(count, dtype=np.int32) * stride
    if edge == "shift":
        starts[-1] = min(starts[-1], max(length - first - size, 0))
    return starts[starts + size > 0]


def _first_and_count(
    length: int, size: int, stride: int, edge: Edge, anchor: float
) -> tuple[int, int]:
    """The first offset, and how many there are; the first may lie outside."""
    first = round(anchor) % stride
    if edge == "pad" and first > 0:
        first -= stride
    beyond = max(length - first - size, 0)
    if edge == "drop":
        return first, beyond // stride + 1 if length - first >= size else 0
    return first, min(-(-beyond // stride) + 1, -(-(length - first) // stride))


def windows(
    width: int,
    height: int,
    reading: Reading,
    anchor: tuple[float, float] = (0, 0),
    *,
    factor: float = 1.0,
    uri: str = "the image",
) -> Windows:
    """Chip windows of a scene of ``width`` x ``height`` pixels.

    Args:
        anchor: column and row of a corner of the grid.
        factor: pixels of the scene, a side, that a pixel of a chip covers.
        uri: of the scene, for the message.

    Returns:
        N windows, each col_off, row_off, width, height in pixels; rows from the top, in each row
        from the left; of several sizes those of the first size first.

    Raises:
        InputError: there would be more than ``MAX_CHIPS``.
    """
    size, step, zero = reading.chip_size, reading.step, np.zeros(1, np.int32)
    if size is None or step is None:
        return Windows(zero, zero, width, height)
    grids = []
    for times in reading.multiscale or (1,):
        scaled, stride = (max(1, round(length * factor * times)) for length in (size, step))
        sides = [
            (side, scaled, stride, reading.edge, at)
            for side, at in zip((width, height), anchor, strict=True)
        ]
        grids.append((sides, scaled))
    count = sum(math.prod(_first_and_count(*side)[1] for side in sides) for sides, _ in grids)
    if count > MAX_CHIPS:
        raise InputError(
            f"{uri} would give {count:,} chips, more than {MAX_CHIPS:,}",
            hint="use a larger chip size or stride, or divide it with gdal_retile.py",
        )
    made: list[Windows] = []
    for sides, scaled in grids:
        columns, rows = (offsets(*side) for side in sides)
        made.append(Windows(columns, rows, scaled, scaled))
    return made[0] if len(made) == 1 else SeveralWindows(made)

"""Where the chips of a scene lie: a fixed grid, by formula, in row-major order.

The edge policies, for a side of L pixels, chips of s pixels and a stride of t:

- ``shift``: the last chip is moved inward to end at L, so that every pixel is covered (if t <= s)
  and no padding is ever hashed.  A scene smaller than a chip is padded, for there is nowhere to move.
- ``pad``: the last chip keeps its place on the grid and runs over the edge; what lies outside is
  filled with 0 and counts as invalid.
- ``drop``: chips that do not fit are left out; a scene smaller than a chip has none.

An anchored grid has one of its corners at a given pixel position, which may lie far outside of the
scene, and does not fit at the left and upper edge either.  ``pad`` and ``drop`` do there as elsewhere.
"""

from __future__ import annotations

import numpy as np

from dcsh_pg.imagery.reading import Edge, Reading


def offsets(length: int, size: int, stride: int, edge: Edge, anchor: float = 0) -> np.ndarray:
    """Offsets of the chips along one side of ``length`` pixels -> int32 (n,), ascending.

    ``anchor`` is where the grid has a line; to the nearest pixel.
    """
    first = round(anchor) % stride
    if edge == "pad" and first > 0:
        first -= stride
    beyond = max(length - first - size, 0)
    if edge == "drop":
        count = beyond // stride + 1 if length - first >= size else 0
    else:
        count = min(-(-beyond // stride) + 1, -(-(length - first) // stride))
    starts = first + np.arange(count, dtype=np.int32) * stride
    if edge == "shift":
        starts[-1] = min(starts[-1], beyond)
    return starts[starts + size > 0]


def windows(
    width: int, height: int, reading: Reading, anchor: tuple[float, float] = (0, 0)
) -> np.ndarray:
    """Chip windows of a scene of ``width`` x ``height`` pixels.

    Args:
        anchor: column and row of a corner of the grid.

    Returns:
        int32 (N, 4), each col_off, row_off, width, height in pixels; rows from the top, in each
        row from the left.
    """
    size = reading.chip_size
    if size is None:
        return np.array([[0, 0, width, height]], dtype=np.int32)
    columns = offsets(width, size, reading.step, reading.edge, anchor[0])
    rows = offsets(height, size, reading.step, reading.edge, anchor[1])
    grid = np.empty((len(rows), len(columns), 4), dtype=np.int32)
    grid[..., 0] = columns[None, :]
    grid[..., 1] = rows[:, None]
    grid[..., 2:] = size
    return grid.reshape(-1, 4)

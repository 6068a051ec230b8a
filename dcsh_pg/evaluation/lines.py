"""Lines of a plot that can be told apart without colour: dashes, markers and names beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

COLOURS = (
    "#2563a8", "#c8641e", "#2f8f5b", "#8a4fb0", "#b8962e",
    "#c23b57", "#3c9bb3", "#6b6f3a", "#7d5a45", "#5a6fd1",
)  # fmt: skip
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (8, 2, 2, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">")

CANDIDATES = np.linspace(0.04, 0.86, 42)
"""Where a name may begin, as fractions of the width."""
LETTER, LINE = 0.012, 0.04
"""Size of a letter and height of a line as fractions of the axes, about."""


def style(number: int) -> dict[str, Any]:
    """Arguments of ``Axes.plot`` for line ``number``; the first 20 differ without colour too."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "ls": DASHES[number % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
        "ms": 4.5,
        "markevery": (0.03 + 0.013 * (number % 10), 0.16),
    }


def name_lines(axes: Axes, lines: Sequence[Line2D]) -> None:
    """Writes its label beside each line, where it is farthest from the other lines and names.

    The axes must have their final limits.
    """
    heights = [_heights(axes, line) for line in lines]
    taken: list[tuple[float, float, float]] = []
    for line, own in zip(lines, heights, strict=True):
        text = str(line.get_label())
        width = LETTER * len(text)
        others = [height for height in heights if height is not own]
        free = [
            _distance(x, y, width, others, taken)
            if np.isfinite(y) and y < 1 - LINE and x + width < 1
            else -1.0
            for x, y in zip(CANDIDATES, own, strict=True)
        ]
        best = int(np.argmax(free))
        if free[best] < 0:
            continue
        x, y = float(CANDIDATES[best]), float(own[best])
        taken.append((x, y, width))
        axes.annotate(
            text,
            (x, y),
            xycoords="axes fraction",
            xytext=(0, 4),
            textcoords="offset points",
            color=line.get_color(),
            fontsize=8,
            bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
        )


def _heights(axes: Axes, line: Line2D) -> np.ndarray:
    """The line's height at each candidate as a fraction of the axes; NaN beyond its ends."""
    points = (axes.transScale + axes.transLimits).transform(np.asarray(line.get_xydata()))
    x, y = points[np.argsort(points[:, 0], kind="stable")].T
    heights: np.ndarray = np.interp(CANDIDATES, x, y, left=np.nan, right=np.nan)
    return heights


def _distance(
    x: float,
    y: float,
    width: float,
    others: Sequence[np.ndarray],
    taken: Sequence[tuple[float, float, float]],
) -> float:
    """How far a name at a place is from other lines and names; negative where it covers a name."""
    if any(abs(y - b) < LINE and x < a + w and a < x + width for a, b, w in taken):
        return -1.0
    under = (x <= CANDIDATES) & (x + width >= CANDIDATES)
    gaps = [np.abs(height[under] - y - LINE / 2) for height in others]
    return float(np.nanmin(np.concatenate([*gaps, [1.0]])))

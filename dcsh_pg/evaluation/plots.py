"""Curves of a report as pictures, by matplotlib (extra ``plot``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcsh_pg.errors import OutputError
from dcsh_pg.evaluation.evaluate import Report
from dcsh_pg.files import check_writable, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, HAIRLINE, BLUE, ORANGE = "#1d1f24", "#6c727d", "#e3e5e9", "#2563a8", "#c8641e"
LABELLED_RADII = 6
"""Radii that are named on the precision-recall curve."""
ANSWERED, RECALL = 0.95, 0.98
"""Radii that are drawn: at least this share of the queries gets anything, at most this is found."""


def check_plots(folder: Path | str) -> None:
    """Tells before a long evaluation whether ``plot`` will be able to draw into ``folder``.

    Raises:
        OutputError: matplotlib is not installed, or the folder cannot be written to.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise OutputError(
            "cannot draw plots: matplotlib is not installed", hint="pip install 'dcsh-pg[plot]'"
        ) from error
    for name in _DRAWINGS:
        check_writable(Path(folder) / name)


def plot(report: Report, folder: Path | str) -> list[Path]:
    """Draws ``precision_recall.png`` and ``precision_at_n.png`` into a folder, 1200 x 840 pixels.

    Raises:
        OutputError: matplotlib is not installed, or the folder cannot be written to.
    """
    check_plots(folder)
    paths = []
    for name, draw in _DRAWINGS.items():
        paths.append(Path(folder) / name)
        with replacing(paths[-1]) as temporary:
            draw(report).savefig(temporary, dpi=150)
    return paths


def precision_recall(report: Report) -> Figure:
    """Precision over recall, along the ranking and for each Hamming radius that says something."""
    figure, axes = _axes(report, "Precision and recall", "recall", "precision")
    axes.plot(report.by_rank.recall, report.by_rank.precision, color=BLUE, lw=2, label="nearest n")
    curve = report.by_radius
    used = np.flatnonzero((curve.answered >= ANSWERED) & (curve.recall <= RECALL))
    if len(used):
        axes.plot(
            curve.recall[used],
            curve.precision[used],
            color=ORANGE,
            lw=1,
            marker="o",
            ms=3.5,
            label="within a Hamming radius (bits)",
        )
        for radius in used[:: -(-len(used) // LABELLED_RADII)]:
            axes.annotate(
                str(radius),
                (curve.recall[radius], curve.precision[radius]),
                xytext=(0, -12),
                textcoords="offset points",
                ha="center",
                color=ORANGE,
                fontsize=8,
            )
    axes.set_xlim(0, 1)
    _finish(axes, report)
    return figure


def precision_at_n(report: Report) -> Figure:
    """Precision and recall of the nearest n over n, on a logarithmic scale."""
    figure, axes = _axes(report, "Precision and recall of the nearest n", "n", "share")
    axes.plot(report.by_rank.n, report.by_rank.precision, color=BLUE, lw=2, label="precision")
    axes.plot(report.by_rank.n, report.by_rank.recall, color=ORANGE, lw=2, label="recall")
    axes.set_xscale("log")
    axes.set_xlim(1, max(2, report.by_rank.n[-1]))
    axes.xaxis.set_major_formatter("{x:g}")
    _finish(axes, report)
    return figure


def _axes(report: Report, title: str, x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", color=INK, fontsize=13, pad=26)
    text = (
        f"{report.bits} bits, {report.queries} queries, {report.database} in the database, "
        f"mAP@all {100 * report.mean_average_precision:.1f} %"
    )
    axes.text(0, 1.025, text, transform=axes.transAxes, color=GREY, fontsize=10)
    axes.set_xlabel(x, color=GREY)
    axes.set_ylabel(y, color=GREY)
    axes.set_ylim(0, 1.02)
    axes.grid(color=HAIRLINE, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=GREY, length=0)
    axes.spines[:].set_visible(False)
    return figure, axes


def _finish(axes: Axes, report: Report) -> None:
    chance = report.by_rank.precision[-1]
    axes.axhline(chance, color=GREY, lw=1, ls=(0, (4, 3)), label="precision by chance")
    axes.legend(frameon=False, labelcolor=INK, fontsize=10, loc="best")


_DRAWINGS = {"precision_recall.png": precision_recall, "precision_at_n.png": precision_at_n}

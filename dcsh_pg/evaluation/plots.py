"""Curves of a report as pictures, by matplotlib (extra ``plot``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcsh_pg.errors import UsageError
from dcsh_pg.evaluation.evaluate import Report
from dcsh_pg.evaluation.lines import name_lines, style
from dcsh_pg.extras import require
from dcsh_pg.files import check_writable, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    Drawing = Callable[[Axes, Mapping[str, Report]], None]

INK, GREY, HAIRLINE, ORANGE = "#1d1f24", "#6c727d", "#e3e5e9", "#c8641e"
LABELLED_RADII = 6
"""Radii that are named on the precision-recall curve."""
ANSWERED, RECALL = 0.95, 0.98
"""Radii that are drawn: at least this share of the queries gets anything, at most this is found."""


PICTURES = (".png", ".svg", ".pdf")


def check_plots(path: Path | str) -> None:
    """Checks before a long evaluation that ``plot`` will be able to draw to ``path``.

    Raises:
        OutputError: matplotlib is not installed, or the path cannot be written to.
        UsageError: a file of another format.
    """
    require("plot", "draw plots")
    for file in _files(Path(path)):
        check_writable(file)


def plot(reports: Mapping[str, Report], path: Path | str) -> list[Path]:
    """Draws precision over recall and over rank, the reports over each other.

    Args:
        reports: by the names that the plots show, such as that of the archive and its model.
        path: a folder, which gets ``precision_recall.png`` and ``precision_at_n.png``, or a file,
            .png, .svg or .pdf, which gets both side by side.

    Raises:
        OutputError: matplotlib is not installed, or the path cannot be written to.
        UsageError: a file of another format.
    """
    check_plots(path)
    from matplotlib.figure import Figure

    path = Path(path)
    files = _files(path)
    for file, drawings in files.items():
        figure = Figure(figsize=(8 * len(drawings), 5.6), layout="constrained")
        for axes, draw in zip(
            figure.subplots(1, len(drawings), squeeze=False)[0], drawings, strict=True
        ):
            draw(axes, reports)
        with replacing(file) as temporary:
            figure.savefig(temporary, dpi=150)
    return list(files)


def _files(path: Path) -> dict[Path, list[Drawing]]:
    if not path.suffix or path.is_dir():
        return {path / f"{draw.__name__}.png": [draw] for draw in _DRAWINGS}
    if path.suffix.lower() not in PICTURES:
        raise UsageError(
            f"{path}: plots are written as {', '.join(PICTURES)}",
            hint=f"for example {path.with_suffix('.svg')}, or a folder",
        )
    return {path: list(_DRAWINGS)}


def precision_recall(axes: Axes, reports: Mapping[str, Report]) -> None:
    """Precision over recall along the ranking; of one report also for each Hamming radius."""
    _begin(axes, reports, "Precision and recall", "recall", "precision")
    lines = [
        axes.plot(report.by_rank.recall, report.by_rank.precision, lw=2, label=name, **style(n))[0]
        for n, (name, report) in enumerate(reports.items())
    ]
    if len(reports) == 1:
        lines[0].set(label="nearest n", marker="")
        lines += _radii(axes, *reports.values())
    axes.set_xlim(0, 1)
    _finish(axes, reports, lines)


def _radii(axes: Axes, report: Report) -> list[Line2D]:
    curve = report.by_radius
    used = np.flatnonzero((curve.answered >= ANSWERED) & (curve.recall <= RECALL))
    if not len(used):
        return []
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
    return axes.plot(
        curve.recall[used],
        curve.precision[used],
        color=ORANGE,
        lw=1,
        marker="o",
        ms=3.5,
        label="within a Hamming radius (bits)",
    )


def precision_at_n(axes: Axes, reports: Mapping[str, Report]) -> None:
    """Precision of the nearest n over n, on a logarithmic scale; of one report also recall."""
    is_one = len(reports) == 1
    title = "Precision and recall of the nearest n" if is_one else "Precision of the nearest n"
    _begin(axes, reports, title, "n", "share" if is_one else "precision")
    lines = [
        axes.plot(report.by_rank.n, report.by_rank.precision, lw=2, label=name, **style(n))[0]
        for n, (name, report) in enumerate(reports.items())
    ]
    if is_one:
        (report,) = reports.values()
        lines[0].set(label="precision", marker="")
        lines += axes.plot(
            report.by_rank.n, report.by_rank.recall, color=ORANGE, lw=2, ls="--", label="recall"
        )
    axes.set_xscale("log")
    axes.set_xlim(1, max(2, *(report.by_rank.n[-1] for report in reports.values())))
    axes.xaxis.set_major_formatter("{x:g}")
    _finish(axes, reports, lines)


def _begin(axes: Axes, reports: Mapping[str, Report], title: str, x: str, y: str) -> None:
    lines = [
        f"{name}: {report.bits} bits, {report.queries} queries, {report.database} in the database, "
        f"mAP@all {100 * report.mean_average_precision:.1f} %"
        for name, report in reports.items()
    ]
    axes.set_title(title, loc="left", color=INK, fontsize=13, pad=10 + 15 * len(lines))
    axes.text(0, 1.02, "\n".join(lines), transform=axes.transAxes, color=GREY, fontsize=10)
    axes.set_xlabel(x, color=GREY)
    axes.set_ylabel(y, color=GREY)
    axes.set_ylim(0, 1.02)
    axes.grid(color=HAIRLINE, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=GREY, length=0)
    axes.spines[:].set_visible(False)


def _finish(axes: Axes, reports: Mapping[str, Report], lines: Sequence[Line2D]) -> None:
    chances = sorted({float(report.by_rank.precision[-1]) for report in reports.values()})
    for chance in chances:
        label = "precision by chance" if chance == chances[0] else None
        axes.axhline(chance, color=GREY, lw=1, ls=(0, (4, 3)), label=label)
    if len(reports) > 1:
        name_lines(axes, lines)
    axes.legend(frameon=False, labelcolor=INK, fontsize=10, loc="best", handlelength=3.5)


_DRAWINGS = (precision_recall, precision_at_n)

"""Curves of a benchmark as the papers draw them: DCSH Figures 6 to 9, by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dcsh_pg.errors import OutputError
from dcsh_pg.evaluation.plots import GREY, HAIRLINE, INK
from dcsh_pg.files import replacing
from dcsh_pg.protocol.rows import COSINE, Row
from dcsh_pg.protocol.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_RETRIEVED = 1000
"""The papers draw precision up to so many retrieved images."""
PRECISION_BITS = {"ucmd": (32, 64), "aid": (32, 64)}
RECALL_BITS = {"ucmd": (32, 48), "aid": (32, 64)}
"""Lengths of code that the paper shows."""
COLOURS = (
    "#2563a8", "#c8641e", "#2f8f5b", "#8a4fb0", "#b8962e",
    "#c23b57", "#3c9bb3", "#6b6f3a", "#7d5a45", "#5a6fd1",
)  # fmt: skip


def draw(summary: Summary, folder: Path, name: str) -> list[Path]:
    """Draws NAME_precision.png and NAME_precision_recall.png, 1950 x 900 pixels each.

    Returns:
        the pictures; none where no curve has been measured yet.

    Raises:
        OutputError: matplotlib is not installed, or the folder cannot be written to.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise OutputError(
            "cannot draw plots: matplotlib is not installed", hint="pip install 'dcsh-pg[plot]'"
        ) from error
    dataset = summary.facts["dataset"]
    paths = []
    for kind, chosen in (("precision", PRECISION_BITS), ("precision_recall", RECALL_BITS)):
        lengths = [bits for bits in chosen.get(dataset, ()) if bits in summary.bits]
        lengths = _with_curves(summary, lengths or summary.bits[-2:])
        if not lengths:
            continue
        figure = Figure(figsize=(13, 6), layout="constrained")
        panels = figure.subplots(1, len(lengths), sharey=True, squeeze=False)[0]
        for axes, bits in zip(panels, lengths, strict=True):
            _panel(axes, summary, bits, recall=kind == "precision_recall")
        drawn = [axes.get_legend_handles_labels() for axes in panels]
        named = {label: line for panel in drawn for line, label in zip(*panel, strict=True)}
        figure.legend(
            named.values(),
            named.keys(),
            loc="outside right center",
            frameon=False,
            labelcolor=INK,
            fontsize=9.5,
        )
        paths.append(folder / f"{name}_{kind}.png")
        with replacing(paths[-1]) as temporary:
            figure.savefig(temporary, dpi=150)
    return paths


def _panel(axes: Axes, summary: Summary, bits: int, *, recall: bool) -> None:
    rows = _rows(summary)
    encoders = list(dict.fromkeys(row.encoder for row in rows))
    colours: dict[str, str] = {}
    for row in rows:
        curve = summary.curve(row, bits)
        if curve is None:
            continue
        key = row.name if row.method == "dcsh" else row.method
        colour = colours.setdefault(key, COLOURS[len(colours) % len(COLOURS)])
        x = curve["recall"] if recall else curve["n"]
        shown = slice(None) if recall else x <= MOST_RETRIEVED
        axes.plot(
            x[shown],
            curve["precision"][shown],
            color=colour,
            lw=2.4 if row.track in ("A", "B") else 1.3,
            ls=_dashes(encoders.index(row.encoder)),
            label=_label(row, len(encoders)),
        )
    axes.set_title(f"{bits} bits", loc="left", color=INK, fontsize=13)
    axes.set_xlabel("recall" if recall else "retrieved images", color=GREY)
    axes.set_ylabel("precision", color=GREY)
    axes.set_xlim(0, 1 if recall else None)
    axes.set_ylim(0, 1.02)
    axes.grid(color=HAIRLINE, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=GREY, length=0)
    axes.spines[:].set_visible(False)


def _rows(summary: Summary) -> list[Row]:
    return [row for row in summary.rows if row.track != "ablation" and row.method != COSINE]


def _with_curves(summary: Summary, lengths: Sequence[int]) -> list[int]:
    """Those of the lengths at which a row that is drawn has a curve."""
    return [b for b in lengths if any(summary.curve(row, b) for row in _rows(summary))]


def _dashes(number: int) -> tuple[int, tuple[int, ...]] | str:
    """A line style for each kind of features."""
    return ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))[number % 4]


def _label(row: Row, encoders: int) -> str:
    return row.name if encoders == 1 or row.encoder in row.name else f"{row.name}, {row.encoder}"

"""Figures of a benchmark in the style of the papers: DCSH Figures 6 to 9, by matplotlib."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcsh_pg.benchmark.rows import COSINE, Row
from dcsh_pg.benchmark.summary import Summary
from dcsh_pg.evaluation.lines import name_lines, style
from dcsh_pg.evaluation.plots import GREY, HAIRLINE, INK
from dcsh_pg.extras import require
from dcsh_pg.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MOST_RETRIEVED = 1000
"""Retrieved images up to which the papers draw precision."""
PRECISION_BITS = {"ucmd": (32, 64), "aid": (32, 64)}
RECALL_BITS = {"ucmd": (32, 48), "aid": (32, 64)}
"""Code lengths that the paper shows."""


def draw(summary: Summary, folder: Path, name: str) -> list[Path]:
    """Draws NAME_precision.png and NAME_precision_recall.png: a row of panels for each encoder, a
    column for each code length.

    Returns:
        the pictures, 1950 pixels wide; none where no curve has been measured yet.

    Raises:
        OutputError: matplotlib is not installed, or the folder cannot be written to.
    """
    require("plot", "draw plots")
    from matplotlib.figure import Figure

    dataset = summary.facts["dataset"]
    paths = []
    for kind, chosen in (("precision", PRECISION_BITS), ("precision_recall", RECALL_BITS)):
        lengths = [bits for bits in chosen.get(dataset, ()) if bits in summary.bits]
        lengths = [b for b in lengths or summary.bits[-2:] if _drawn(summary, b)]
        if not lengths:
            continue
        rows = [row for b in lengths for row in _drawn(summary, b)]
        encoders = list(dict.fromkeys(row.encoder for row in rows))
        labels = dict.fromkeys(label(row) for row in rows)
        styles = {text: style(n) for n, text in enumerate(labels)}
        figure = Figure(figsize=(13, 1 + 4.5 * len(encoders)), layout="constrained")
        panels = figure.subplots(
            len(encoders), len(lengths), sharex=True, sharey=True, squeeze=False
        )
        for encoder, line in zip(encoders, panels, strict=True):
            for bits, axes in zip(lengths, line, strict=True):
                _panel(axes, summary, bits, encoder, styles, recall=kind == "precision_recall")
        handles = [axes.get_legend_handles_labels() for axes in panels.flat]
        named = {text: line for panel in handles for line, text in zip(*panel, strict=True)}
        figure.legend(
            named.values(),
            named.keys(),
            loc="outside right upper",
            frameon=False,
            labelcolor=INK,
            fontsize=9.5,
            handlelength=4,
        )
        paths.append(folder / f"{name}_{kind}.png")
        with replacing(paths[-1]) as temporary:
            figure.savefig(temporary, dpi=150)
    return paths


def label(row: Row) -> str:
    """The row's name without its encoder, which is the panel's title."""
    return re.sub(rf"( \([^()]*\)|, {re.escape(row.encoder)})$", "", row.name)


def _panel(
    axes: Axes,
    summary: Summary,
    bits: int,
    encoder: str,
    styles: Mapping[str, Mapping[str, Any]],
    *,
    recall: bool,
) -> None:
    lines: list[Line2D] = []
    for row in _drawn(summary, bits):
        if row.encoder != encoder:
            continue
        curve = summary.curve(row, bits)
        assert curve is not None  # see _drawn
        x = curve["recall"] if recall else curve["n"]
        shown = slice(None) if recall else x <= MOST_RETRIEVED
        lines += axes.plot(
            x[shown],
            curve["precision"][shown],
            lw=2.4 if row.track in ("A", "B") else 1.3,
            label=label(row),
            **styles[label(row)],
        )
    axes.set_title(f"{encoder}, {bits} bits", loc="left", color=INK, fontsize=12)
    axes.set_xlabel("recall" if recall else "retrieved images", color=GREY)
    axes.set_ylabel("precision", color=GREY)
    axes.set_xlim(0, 1 if recall else None)
    axes.set_ylim(0, 1.02)
    name_lines(axes, lines)
    axes.grid(color=HAIRLINE, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=GREY, length=0)
    axes.spines[:].set_visible(False)


def _drawn(summary: Summary, bits: int) -> list[Row]:
    """The rows that have a curve at this code length, without ablations."""
    rows = (row for row in summary.rows if row.track != "ablation" and row.method != COSINE)
    return [row for row in rows if summary.curve(row, bits)]

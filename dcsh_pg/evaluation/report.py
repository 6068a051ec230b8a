"""A report for people: a table."""

from __future__ import annotations

import sys
from typing import TextIO

from rich import box
from rich.columns import Columns
from rich.console import Console
from rich.table import Table

from dcsh_pg.evaluation.evaluate import Report

PIPED_WIDTH = 120
"""Width in columns without a terminal."""


def print_report(report: Report, file: TextIO | None = None) -> None:
    """Prints the summary and the classes side by side to ``file`` or stdout; shares in percent."""
    left = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    left.add_column(no_wrap=True)
    left.add_column(justify="right", no_wrap=True)
    for row in summary(report):
        left.add_row(*row)
    right = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    right.add_column("class")
    right.add_column("mAP %", justify="right", no_wrap=True)
    right.add_column("queries", justify="right", no_wrap=True)
    for name, score in report.by_class.items():
        right.add_row(name, f"{100 * score.mean_average_precision:.2f}", str(score.queries))
    file = file or sys.stdout
    width = None if file.isatty() else PIPED_WIDTH
    console = Console(file=file, width=width, markup=False, highlight=False, emoji=False)
    console.print(Columns([left, right], padding=(0, 4)))


def summary(report: Report) -> list[tuple[str, str]]:
    """The figures of a report with their names, shares in percent."""
    error = "" if report.standard_error is None else f" ± {100 * report.standard_error:.1f}"
    rows = [
        ("mAP@all %", f"{100 * report.mean_average_precision:.2f}{error}"),
        ("mAP@all %, one random order of ties", f"{100 * report.shuffled:.2f}"),
        ("mAP@all %, chance", f"{100 * report.chance:.2f}"),
    ]
    rows += [(f"precision@{n} %", f"{100 * p:.2f}") for n, p in report.precision_at.items()]
    rows.append(("queries" + ", leave-one-out" * report.leave_one_out, str(report.queries)))
    if report.queries_without_relevant:
        rows.append(("queries left out, nothing to find", str(report.queries_without_relevant)))
    rows += [
        ("items in the database", str(report.database)),
        ("different codes", str(report.distinct_codes)),
        ("bits", str(report.bits)),
        ("entropy of a bit", f"{report.bit_entropy:.3f}"),
        ("constant bits", str(report.constant_bits)),
    ]
    return rows

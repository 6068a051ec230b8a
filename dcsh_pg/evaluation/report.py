"""A report for people: a table."""

from __future__ import annotations

import sys
from typing import TextIO

from dcsh_pg.evaluation.evaluate import Report
from dcsh_pg.results.record import Table
from dcsh_pg.results.to_table import print_table


def print_report(report: Report, file: TextIO | None = None) -> None:
    """Prints the summary, then the classes, to ``file`` or stdout; shares in percent."""
    file = file or sys.stdout
    rows = summary(report)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}", file=file)
    print(file=file)
    classes = [
        {
            "class": name,
            "mAP %": round(100 * score.mean_average_precision, 2),
            "queries": score.queries,
        }
        for name, score in report.by_class.items()
    ]
    print_table(Table.of(classes, {"class": str, "mAP %": float, "queries": int}), file=file)


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

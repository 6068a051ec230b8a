"""Rows as a table for people, on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TextIO

from rich.cells import cell_len

from dcsh_pg.results.record import Table, place, scene_name
from dcsh_pg.terminal import printable

PIPED_WIDTH = 160
"""Width in columns without a terminal."""

PLACE = "place (lon, lat)"

HITS_SHOWN = (
    "rank",
    "distance",
    "pair_share",
    "id",
    "acquired",
    "class",
    "label",
    "collection",
    "item_id",
    "uri",
)
"""Columns of a table of hits; the others are for programs."""

EXPENDABLE = ("item_id", "collection", PLACE, "label", "class")
"""Columns that a narrow terminal goes without, in this order; then times.  Numbers always stay."""

LEAST_TEXT = 14
"""Width to which a text is cut, in columns, before a column is left out."""

GAP = 2
"""Columns between two columns of the table."""


@dataclass(frozen=True)
class _Column:
    name: str
    heading: str
    cells: list[str]
    type_: type

    @property
    def width(self) -> int:
        return max(map(cell_len, (self.heading, *self.cells)))

    @property
    def least(self) -> int:
        """The width to which it can be cut."""
        least = max(LEAST_TEXT, cell_len(self.heading))
        return min(self.width, least) if self.type_ is str and self.name != PLACE else self.width


def print_table(
    table: Table, *, columns: Sequence[str] | None = None, file: TextIO | None = None
) -> None:
    """Prints ``columns`` (default: the declared ones) and the place of each row.

    Times are in UTC, a place is its centre, a scene (``uri``) the last part of its name and the last
    column.  A column of text, times or places that is empty is left out.  On a narrow terminal texts
    are cut in the middle, then columns are left out and named below the table; numbers always stay.

    Args:
        file: where to; stdout when None.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    file = file or sys.stdout
    console = Console(
        file=file,
        width=None if file.isatty() else PIPED_WIDTH,
        markup=False,
        highlight=False,
        emoji=False,
    )
    shown, hidden = _fitting(_columns(table, columns or table.declared), console.width)
    texts = RichTable(
        box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False
    )
    for column in shown:
        is_left = column.type_ is str and column.name != PLACE
        texts.add_column(column.heading, justify="left" if is_left else "right", no_wrap=True)
    for row in zip(*(column.cells for column in shown), strict=True):
        texts.add_row(*row)
    console.print(texts)
    if hidden:
        console.print(f"not shown: {', '.join(hidden)}; a wider terminal or '--json' has them")


def _columns(table: Table, names: Iterable[str]) -> list[_Column]:
    columns = [
        _column(name, table.types[name], [record.get(name) for record in table.records])
        for name in names
        if name in table.types and name != "uri"
    ]
    columns.append(_Column(PLACE, PLACE, [place(one) for one in table.footprints], str))
    if "uri" in names:
        scenes = [scene_name(record["uri"] or "") for record in table.records]
        columns.append(_column("scene", str, scenes))
    return [
        column
        for column in columns
        if any(column.cells)
        or (column.name != PLACE and not (table.records and column.type_ in (str, datetime)))
    ]


def _column(name: str, type_: type, values: Sequence[Any]) -> _Column:
    heading = printable(name)
    if type_ is datetime:
        times = [value for value in values if value is not None]
        if all((time.hour, time.minute) == (0, 0) for time in times):
            return _Column(name, heading, [f"{v:%Y-%m-%d}" if v else "" for v in values], type_)
        heading += " (UTC)"
    if type_ is float:
        return _Column(name, heading, _aligned(values), type_)
    return _Column(name, heading, [_text(value) for value in values], type_)


def _aligned(values: Sequence[float | None]) -> list[str]:
    """The values with as many decimals as the one that needs most."""
    texts = ["" if value is None else _number(value) for value in values]
    if any("e" in text for text in texts):
        return texts
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [text and f"{float(text):.{decimals}f}" for text in texts]


def _number(value: float) -> str:
    """Small shares as decimals too: 0.000012, not 1.2e-05."""
    return f"{value:g}" if value == 0 or abs(value) >= 1e-4 else f"{value:.6f}"


def _fitting(columns: list[_Column], width: int) -> tuple[list[_Column], list[str]]:
    """The columns that fit, with their texts cut where needed, and the names of the others."""
    expendable = [name for name in EXPENDABLE if any(c.name == name for c in columns)]
    expendable += [column.name for column in reversed(columns) if column.type_ is datetime]
    expendable.append("scene")
    hidden: list[str] = []
    while expendable and sum(c.least + GAP for c in columns) - GAP > width:
        hidden.append(expendable.pop(0))
        columns = [column for column in columns if column.name != hidden[-1]]
    spare = width - sum(column.least + GAP for column in columns) + GAP
    fitted = []
    for column in columns:
        room = max(0, min(spare, column.width - column.least))
        spare -= room
        cells = [shortened(cell, column.least + room) for cell in column.cells]
        fitted.append(replace(column, cells=cells))
    return fitted, hidden


def shortened(text: str, width: int) -> str:
    """The text in at most ``width`` columns, cut in the middle; the end, which tells more, is longer."""
    if cell_len(text) <= width:
        return text
    end = (2 * width) // 3
    while cell_len(text[-end:]) > max(1, (2 * width) // 3):
        end -= 1
    start = width - 1 - cell_len(text[-end:])
    while cell_len(text[:start]) + 1 + cell_len(text[-end:]) > width:
        start -= 1
    return f"{text[:start]}…{text[-end:]}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return printable(str(value))

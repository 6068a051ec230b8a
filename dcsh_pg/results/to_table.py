"""Rows as a table for people, on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TextIO

from dcsh_pg.results.record import Table, place, scene_name
from dcsh_pg.terminal import printable

PIPED_WIDTH = 160
"""Width in columns without a terminal."""

HITS_SHOWN = ("rank", "distance", "id", "acquired", "collection", "item_id", "uri")
"""Columns of a table of hits; the others are for programs."""


def print_table(
    table: Table, *, columns: Sequence[str] | None = None, file: TextIO | None = None
) -> None:
    """Prints ``columns`` (default: the declared ones) and the place of each row.

    Times are in UTC, a place is its centre, a scene (``uri``) the last part of its name and the last
    column.  A column of text, times or places that is empty is left out.

    Args:
        file: where to; stdout when None.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    names = [name for name in columns or table.declared if name != "uri"]
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    cells: list[list[str]] = []
    for name in names:
        texts = [_text(record.get(name)) for record in table.records]
        type_ = table.types[name]
        if type_ in (str, datetime) and table.records and not any(texts):
            continue
        heading = f"{name} (UTC)" if type_ is datetime else name
        shown.add_column(
            printable(heading), justify="left" if type_ is str else "right", no_wrap=True
        )
        cells.append(texts)
    if any(places := [place(footprint) for footprint in table.footprints]):
        shown.add_column("place (lon, lat)", justify="right", no_wrap=True)
        cells.append(places)
    if "uri" in (columns or table.declared):
        shown.add_column("scene", overflow="ellipsis", no_wrap=True)
        cells.append([printable(scene_name(record["uri"] or "")) for record in table.records])
    for row in zip(*cells, strict=True):
        shown.add_row(*row)
    file = file or sys.stdout
    width = None if file.isatty() else PIPED_WIDTH
    console = Console(file=file, width=width, markup=False, highlight=False, emoji=False)
    console.print(shown)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:g}" if isinstance(value, float) else printable(str(value))

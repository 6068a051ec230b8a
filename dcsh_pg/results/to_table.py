"""Hits as a table for people, on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from dcsh_pg.results.record import place, scene_name, utc

if TYPE_CHECKING:
    from dcsh_pg.database.search import Hit

PIPED_WIDTH = 160
"""Columns to use where there is no terminal to ask."""


def print_table(hits: Sequence[Hit], file: TextIO | None = None) -> None:
    """Prints rank, distance, id, time, place and scene of each hit to ``file`` or stdout.

    A column that no hit can fill is left out.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("rank", "distance", "id"):
        table.add_column(name, justify="right")
    times = [f"{utc(hit.acquired):%Y-%m-%d %H:%M}" if hit.acquired else "" for hit in hits]
    optional = {
        "acquired (UTC)": times,
        "place (lon, lat)": [place(hit) for hit in hits],
        "scene": [scene_name(hit) for hit in hits],
    }
    filled = {name: cells for name, cells in optional.items() if any(cells)}
    for name in filled:
        if name == "scene":
            table.add_column(name, overflow="ellipsis", no_wrap=True)
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for rank, (hit, *cells) in enumerate(zip(hits, *filled.values(), strict=True), start=1):
        table.add_row(str(rank), str(hit.distance), str(hit.id), *cells)
    file = file or sys.stdout
    width = None if file.isatty() else PIPED_WIDTH
    console = Console(file=file, width=width, markup=False, highlight=False, emoji=False)
    console.print(table)

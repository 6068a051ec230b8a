"""``dcsh-pg duplicates``: chips that are nearly the same.

Library: :func:`dcsh_pg.database.search.near_duplicates.near_duplicates`; SQL:
``dcsh.near_duplicates``.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import say, working
from dcsh_pg.cli.output_options import RowsOutput
from dcsh_pg.cli.search_options import ChipFilter


@app.command()
def duplicates(
    archive: options.ArchiveName,
    filter: ChipFilter,
    output: RowsOutput,
    radius: Annotated[
        int,
        typer.Option(
            "--radius",
            "-r",
            min=0,
            metavar="BITS",
            help="Greatest Hamming distance from one chip of a group to the next; 0 is equal codes.",
        ),
    ] = 2,
    database: options.Database = options.DATABASE,
) -> None:
    """Find groups of chips that are nearly the same.

    Two chips are in one group when a chain of chips connects them, each at most --radius bits from
    the next. Exact. A group's id is its smallest chip id; distances are measured to that chip.

    [dim]dcsh-pg duplicates naip --radius 2 --since 2021 -o duplicates.geojson[/dim]
    """
    from dcsh_pg.database.search.near_duplicates import NearDuplicate, near_duplicates

    opened = database.open(archive)
    with working(f"comparing {opened.record.chips:,} codes"):
        found = near_duplicates(opened.connection, archive, radius, filter)
    output.put(
        found,
        columns=NearDuplicate,
        shown=("group_id", "id", "distance", "acquired", "uri"),
        area=filter.area,
        title=f"{archive}: near duplicates, at most {radius} bits apart",
    )
    groups = len({chip.group_id for chip in found})
    say(f"{len(found):,} chips in {groups:,} group{'' if groups == 1 else 's'}")

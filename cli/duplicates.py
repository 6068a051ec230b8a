"""``dcsh-pg duplicates``: chips that are nearly the same.

Library: :meth:`dcsh_pg.Archive.near_duplicates`; SQL: ``dcsh.near_duplicates``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import say


@app.command()
def duplicates(
    archive: options.ArchiveName,
    radius: Annotated[
        int,
        typer.Option(
            "--radius",
            "-r",
            min=0,
            metavar="BITS",
            help="Greatest Hamming distance from one chip of a group to the next; 0 is the very "
            "same code.",
        ),
    ] = 2,
    area: options.Area = None,
    since: options.Since = None,
    until: options.Until = None,
    format: options.Format = "table",
    out: options.Out = None,
    dsn: options.Dsn = None,
    pg_bin: options.PgBin = None,
) -> None:
    """Find groups of chips that are nearly the same.

    Two chips are in one group when a chain of chips connects them, each at most --radius bits from
    the next. Exact. The group is named by its smallest chip id, to which the distance is told.

    [dim]dcsh-pg duplicates naip --radius 2 --since 2021 -o duplicates.geojson[/dim]
    """
    from dcsh_pg import results
    from dcsh_pg.archive import Archive
    from dcsh_pg.database.search.near_duplicates import NearDuplicate
    from dcsh_pg.imagery import parse_area

    for file in out or ():
        results.check_output(file, of_hits=False)
    first, end = options.parse_times(since, until)
    inside = parse_area(area) if area else None
    opened = Archive.open(archive, dsn=dsn, pg_bin=pg_bin)
    found = opened.near_duplicates(radius, area=inside, since=first, until=end)
    for file in out or ():
        results.write_rows(
            found,
            file,
            columns=NearDuplicate,
            area=inside,
            title=f"{archive}: near duplicates, at most {radius} bits apart",
        )
    results.show_rows(found, format, columns=_TABLE if format == "table" else NearDuplicate)
    groups = len({chip.group_id for chip in found})
    say(f"{len(found):,} chips in {groups:,} group{'' if groups == 1 else 's'}")


_TABLE = {"group_id": int, "id": int, "distance": int, "acquired": datetime, "uri": str}
"""What people see of a :class:`dcsh_pg.database.search.near_duplicates.NearDuplicate`."""

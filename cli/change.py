"""``dcsh-pg change``: what changed between two periods.

Library: :func:`dcsh_pg.database.search.change.change`; SQL: ``dcsh.change``.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import say, working
from dcsh_pg.cli.output_options import RowsOutput
from dcsh_pg.cli.search_options import AreaFilter
from dcsh_pg.database.search.period import to_time
from dcsh_pg.errors import UsageError

_PERIOD = (
    "A year, a month, a day, or SINCE/UNTIL, where .. leaves a side open: 2019, 2019-05, ../2019-05. "
    "UNTIL is not included."
)


@app.command()
def change(
    archive: options.ArchiveName,
    before: Annotated[
        str, typer.Option("--from", metavar="PERIOD", help=f"The earlier period. {_PERIOD}")
    ],
    after: Annotated[
        str, typer.Option("--to", metavar="PERIOD", help="The later period, in the same form.")
    ],
    filter: AreaFilter,
    output: RowsOutput,
    min_overlap: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Least overlap of the two chips of a place, as a share of the larger footprint.",
        ),
    ] = 0.5,
    k: Annotated[
        int | None,
        typer.Option("-k", min=1, help="Number of rows, the most changed first. Default: all."),
    ] = None,
    database: options.Database = options.DATABASE,
) -> None:
    """Find the places that changed between two periods.

    Each row is a place with chips in both: the newest chip of the later period, the chip of the
    earlier one that overlaps it most, and the Hamming distance between their codes, the most changed
    first. Chips of two dates coincide if the archive was made with --anchor.

    [dim]dcsh-pg change naip --from 2019 --to 2021 --area -86.5,30.2,-86.1,30.6 -o change.geojson[/dim]
    """
    periods = _parse_period(before, "--from"), _parse_period(after, "--to")

    from dcsh_pg.database.search.change import Change, find_changes

    opened = database.open(archive)
    with working(f"comparing the chips of {before} and {after}"):
        changes = find_changes(
            opened.connection, archive, *periods, filter, min_overlap=min_overlap, k=k
        )
    if not changes:
        say("no place has chips in both periods; 'dcsh-pg archive show' shows the archive's times")
    output.put(
        changes,
        columns=Change,
        shown=(
            "distance", "id", "before_id", "overlap", "acquired", "before_acquired", "uri",
        ),
        area=filter.area,
        title=f"{archive}: change from {before} to {after}, Hamming distance",
    )  # fmt: skip


def _parse_period(text: str, option: str) -> tuple[datetime | None, datetime | None]:
    """'2019', '2019-05', '2019-05-03' or 'SINCE/UNTIL' -> since, until.

    Raises:
        UsageError: the text is not a period, or ends before it begins; names ``option``.
    """
    if "/" in text:
        first, end = (
            None if side.strip() in ("", "..") else to_time(side, option)
            for side in text.split("/", 1)
        )
        if first and end and first >= end:
            raise UsageError(
                f"{option}: period {text} ends before it begins", hint="write SINCE/UNTIL"
            )
        return first, end
    if not re.fullmatch(r"\s*\d{4}(-\d{1,2}){0,2}\s*", text):
        raise UsageError(
            f"{option}: not a period: '{text}'",
            hint="write 2019, 2019-05, 2019-05-03, or SINCE/UNTIL: 2018-11/2019-04",
        )
    since = to_time(text, option)
    days = {0: 366, 1: 31, 2: 1}[text.count("-")]
    try:
        until = since + timedelta(days=days)
    except OverflowError:
        raise UsageError(
            f"{option}: period {text} has no end",
            hint="times end with the year 9999; write SINCE/..",
        ) from None
    return since, until.replace(day=1) if days > 1 else until

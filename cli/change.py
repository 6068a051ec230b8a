"""``dcsh-pg change``: what changed between two periods.

Library: :meth:`dcsh_pg.Archive.change`; SQL: ``dcsh.change``.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import say
from dcsh_pg.errors import UsageError

_PERIOD = (
    "A year, a month or a day, or SINCE/UNTIL, from a time on and before a time, where .. leaves a "
    "side open: 2019, 2019-05, ../2019-05."
)


@app.command()
def change(
    archive: options.ArchiveName,
    before: Annotated[
        str,
        typer.Option(
            "--from", metavar="PERIOD", help=f"The earlier period. {_PERIOD}", show_default=False
        ),
    ],
    after: Annotated[
        str,
        typer.Option(
            "--to", metavar="PERIOD", help="The later period, written alike.", show_default=False
        ),
    ],
    area: options.Area = None,
    min_overlap: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="How much of the larger of their footprints the two chips of a place have in common.",
        ),
    ] = 0.5,
    k: Annotated[
        int | None,
        typer.Option("-k", min=1, help="Only the most changed. Default: all.", show_default=False),
    ] = None,
    format: options.Format = "table",
    out: options.Out = None,
    dsn: options.Dsn = None,
    pg_bin: options.PgBin = None,
) -> None:
    """Find the places that changed between two periods.

    Each row is a place that was seen in both: the newest chip of the later period, the chip of the
    earlier one that overlaps it most, and the Hamming distance between their codes, the most changed
    first. Chips of two dates coincide where the archive was made with --anchor.

    [dim]dcsh-pg change naip --from 2019 --to 2021 --area -86.5,30.2,-86.1,30.6 -o change.geojson[/dim]
    """
    periods = _parse_period(before, "--from"), _parse_period(after, "--to")

    from dcsh_pg import results
    from dcsh_pg.archive import Archive
    from dcsh_pg.database.search.change import Change
    from dcsh_pg.imagery import parse_area

    for file in out or ():
        results.check_output(file, of_hits=False)
    inside = parse_area(area) if area else None
    opened = Archive.open(archive, dsn=dsn, pg_bin=pg_bin)
    changes = opened.change(*periods, area=inside, min_overlap=min_overlap, k=k)
    if not changes:
        say(
            "no place was seen in both periods; 'dcsh-pg archive show' tells when there are pictures"
        )
    for file in out or ():
        results.write_rows(
            changes,
            file,
            columns=Change,
            area=inside,
            title=f"{archive}: change from {before} to {after}, Hamming distance",
        )
    results.show_rows(changes, format, columns=_TABLE if format == "table" else Change)


_TABLE = {
    "distance": int,
    "id": int,
    "before_id": int,
    "overlap": float,
    "acquired": datetime,
    "before_acquired": datetime,
    "uri": str,
}
"""What people see of a :class:`dcsh_pg.database.search.change.Change`."""


def _parse_period(text: str, option: str) -> tuple[datetime | None, datetime | None]:
    """'2019', '2019-05', '2019-05-03' or 'SINCE/UNTIL' -> from a time on, before a time.

    Raises:
        UsageError: the text is no period, or ends before it begins; names ``option``.
    """
    if "/" in text:
        since, until = (
            None if side.strip() in ("", "..") else options.parse_time(side, option)
            for side in text.split("/", 1)
        )
        if since and until and since >= until:
            raise UsageError(
                f"{option}: period {text} ends before it begins", hint="write SINCE/UNTIL"
            )
        return since, until
    if not re.fullmatch(r"\s*\d{4}(-\d{1,2}){0,2}\s*", text):
        raise UsageError(
            f"{option}: not a period: '{text}'",
            hint="write 2019, 2019-05, 2019-05-03, or SINCE/UNTIL: 2018-11/2019-04",
        )
    since = options.parse_time(text, option)
    days = {0: 366, 1: 31, 2: 1}[text.count("-")]
    try:
        until = since + timedelta(days=days)
    except OverflowError:
        raise UsageError(
            f"{option}: period {text} has no end",
            hint="times end with the year 9999; write SINCE/..",
        ) from None
    return since, until.replace(day=1) if days > 1 else until

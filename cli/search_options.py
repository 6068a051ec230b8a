"""What to search for and among which chips, as options of every command that searches.

A new filter is a field of ``dcsh_pg.database.search.filter.Filter`` and an option here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcsh_pg.cli import options
from dcsh_pg.cli.expand import Parsed
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.query import Query, Rule
from dcsh_pg.errors import UsageError

if TYPE_CHECKING:
    from dcsh_pg.archive import Archive

_FILTER = "Filter"
_QUERY = "Query (one of these)"

Area = Annotated[
    str | None,
    typer.Option(
        metavar="AREA",
        help="Only chips that intersect this area: a GeoJSON file, WKT, or minlon,minlat,maxlon,maxlat.",
        rich_help_panel=_FILTER,
        show_default=False,
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Acquired at this time or later.",
        rich_help_panel=_FILTER,
        show_default=False,
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Acquired before this time.",
        rich_help_panel=_FILTER,
        show_default=False,
    ),
]
MaxDistance = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="BITS",
        help="At most this Hamming distance.",
        rich_help_panel=_FILTER,
        show_default=False,
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="CQL2",
        help="Condition on the properties of the scene: \"gsd <= 0.5 AND platform = 'a'\".",
        rich_help_panel=_FILTER,
        show_default=False,
    ),
]
Cql2 = Annotated[
    str | None,
    typer.Option(
        metavar="CQL2",
        help="Condition on the scene's STAC item in pgstac: CQL2 as text, as JSON, or a file of JSON.",
        rich_help_panel=_FILTER,
        show_default=False,
    ),
]


def _filter(
    area: Area = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    cql2: Cql2 = None,
) -> Filter:
    return _search_filter(area, since, until, None, where, cql2)


def _area_filter(area: Area = None, where: Where = None, cql2: Cql2 = None) -> Filter:
    return _search_filter(area, None, None, None, where, cql2)


def _search_filter(
    area: Area = None,
    since: Since = None,
    until: Until = None,
    max_distance: MaxDistance = None,
    where: Where = None,
    cql2: Cql2 = None,
) -> Filter:
    from dcsh_pg.database.search.cql2 import parse_condition
    from dcsh_pg.imagery import parse_area

    first, end = options.parse_time(since, "--since"), options.parse_time(until, "--until")
    if first and end and first >= end:
        raise UsageError(
            f"--since {since} is not before --until {until}",
            hint="--since is included, --until is not: --since 2021 --until 2022 is the year 2021",
        )
    return Filter(
        area=parse_area(area) if area else None,
        since=first,
        until=end,
        max_distance=max_distance,
        where=None if where is None else parse_condition(where, "--where"),
        stac=None if cql2 is None else parse_condition(cql2, "--cql2"),
    )


ChipFilter = Annotated[Filter, Parsed(_filter)]
"""Of a command that takes chips without searching."""
AreaFilter = Annotated[Filter, Parsed(_area_filter)]
"""Of a command that has times of its own."""
SearchFilter = Annotated[Filter, Parsed(_search_filter)]
"""Of a command that searches."""


def _query(
    image: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="An image of any size, hashed with the archive's own model.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="COL,ROW,WIDTH,HEIGHT",
            help="Only this window of --image, in pixels.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    chip: Annotated[
        int | None,
        typer.Option(
            metavar="ID",
            help="A chip of the archive; it is left out of the hits.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LON LAT",
            help="The chip at a place, in degrees.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="A code, as bits or hexadecimal.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID,...",
            help="Several chips of the archive, left out of the hits. May be given several times.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID,...",
            help="With --like: refuse hits that are nearer to these chips.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="AREA",
            help="The chips that cover an area, written as for --area; they are left out of the hits.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    rule: Annotated[
        Rule | None,
        typer.Option(
            help="Distance to several chips (--like, --region): to the nearest of them, or the mean "
            "to all in whole bits. Default: min.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
) -> Asked | None:
    queries = {
        "--image": image,
        "--chip": chip,
        "--at": at,
        "--code": code,
        "--like": like or None,
        "--region": region,
    }
    given = [name for name, value in queries.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} cannot be combined", hint=ONE_QUERY)
    if window is not None and image is None:
        raise UsageError("--window without --image", hint="add the --image that it is a part of")
    if unlike and not like:
        raise UsageError(
            "--unlike without --like", hint="add the chips to be similar to: --like ID"
        )
    if rule is not None and not (like or region):
        raise UsageError(
            "--rule without --like or --region", hint="it is the distance to several chips"
        )

    from dcsh_pg import codes
    from dcsh_pg.database.search.query import CodeQuery
    from dcsh_pg.imagery import parse_area

    several = rule or "min"
    if image is not None:
        file, part = image, _window(window)
        return lambda archive: archive.query_image(file, window=part)
    if chip is not None:
        id = chip
        return lambda archive: archive.query_chip(id)
    if at is not None:
        lon, lat = at
        return lambda archive: archive.query_place(lon, lat)
    if code is not None:
        packed = CodeQuery(bytes(codes.from_text(code)), caption="code")
        return lambda archive: packed
    if like:
        likes, unlikes = _ids(like, "--like"), _ids(unlike, "--unlike")
        return lambda archive: archive.query_examples(likes, unlikes, rule=several)
    if region is not None:
        place = parse_area(region, "--region")
        return lambda archive: archive.query_region(place, rule=several)
    return None


ONE_QUERY = (
    "give one of --image FILE, --chip ID, --at LON LAT, --code CODE, --like ID,..., --region AREA"
)

Asked = Callable[["Archive"], Query]
"""Makes the query of an archive, whose model and chips it needs."""
AskedQuery = Annotated[Asked | None, Parsed(_query)]


def _window(text: str | None) -> tuple[int, int, int, int] | None:
    numbers = options.parse_integers(text, "--window", 4)
    return None if numbers is None else (numbers[0], numbers[1], numbers[2], numbers[3])


def _ids(texts: list[str] | None, option: str) -> tuple[int, ...]:
    return options.parse_integers(",".join(texts), option) or () if texts else ()

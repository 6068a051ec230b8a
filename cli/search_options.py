"""What to search for and among which chips, as options of every command that searches.

A new filter is a field of ``dcsh_pg.database.search.filter.Filter`` and an option here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcsh_pg.cli import options
from dcsh_pg.cli.expand import Parsed
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.period import to_time
from dcsh_pg.database.search.query import Query, Rule
from dcsh_pg.errors import InputError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from dcsh_pg.archive import Archive

_filter_option = partial(typer.Option, rich_help_panel="Filter")
_query_option = partial(typer.Option, rich_help_panel="Query (one of these)")

Area = Annotated[
    str | None,
    _filter_option(
        metavar="AREA",
        help="Only chips that intersect this area: a GeoJSON file, WKT, or minlon,minlat,maxlon,maxlat.",
    ),
]
Since = Annotated[
    str | None, _filter_option(metavar="TIME", help="Acquired at this time or later.")
]
Until = Annotated[str | None, _filter_option(metavar="TIME", help="Acquired before this time.")]
MaxDistance = Annotated[
    int | None, _filter_option(min=0, metavar="BITS", help="At most this Hamming distance.")
]
Where = Annotated[
    str | None,
    _filter_option(
        metavar="CQL2",
        help="Condition on the properties of the scene: \"gsd <= 0.5 AND platform = 'a'\".",
    ),
]
Cql2 = Annotated[
    str | None,
    _filter_option(
        metavar="CQL2",
        help="Condition on the scene's STAC item in pgstac: CQL2 as text, as JSON, or a file of JSON.",
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

    first, end = to_time(since, "--since"), to_time(until, "--until")
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
        _query_option(
            metavar="FILE", help="An image of any size, hashed with the archive's own model."
        ),
    ] = None,
    window: Annotated[
        str | None,
        _query_option(
            metavar="COL,ROW,WIDTH,HEIGHT", help="Only this window of --image, in pixels."
        ),
    ] = None,
    vector: Annotated[
        Path | None,
        _query_option(
            metavar="FILE.npy",
            help="An embedding, a numpy array of its numbers, hashed with the archive's own model.",
        ),
    ] = None,
    text: Annotated[
        str | None,
        _query_option(
            metavar="TEXT",
            help="What to find, 'tennis courts by a river', by a model with a text tower.",
        ),
    ] = None,
    chip: Annotated[
        int | None,
        _query_option(metavar="ID", help="A chip of the archive; it is left out of the hits."),
    ] = None,
    at: Annotated[
        tuple[float, float] | None,
        _query_option(metavar="LON LAT", help="The chip at a place, in degrees."),
    ] = None,
    code: Annotated[
        str | None, _query_option(metavar="CODE", help="A code, as bits or hexadecimal.")
    ] = None,
    like: Annotated[
        list[str] | None,
        _query_option(
            metavar="ID,...",
            help="Several chips of the archive, left out of the hits. May be given several times.",
        ),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        _query_option(
            metavar="ID,...", help="With --like: chips that hits must not resemble. See --rule."
        ),
    ] = None,
    region: Annotated[
        str | None,
        _query_option(
            metavar="AREA",
            help="The chips that cover an area, written as for --area; they are left out of the hits.",
        ),
    ] = None,
    rule: Annotated[
        Rule | None,
        _query_option(
            help="Distance to several chips (--like, --region). min: to the nearest of them. mean: the "
            "mean to all. Both leave out chips nearer to --unlike. rocchio: weighs each bit by how often "
            "it is set in --like and --unlike, for marking hits and searching again. Default: min."
        ),
    ] = None,
    approximate: Annotated[
        bool,
        typer.Option(
            "--approximate",
            help="Permit an approximate index ('archive index --approximate'), which is fast and may "
            "miss hits. Without one, or with the exact index, the answer is exact.",
        ),
    ] = False,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine",
            help="Order hits of equal distance by how well their bits agree with the real values of the "
            "query, an image, a vector or a chip whose scene can be read. Distances stay; worth it for "
            "short codes.",
        ),
    ] = False,
) -> Asked | None:
    queries = {
        "--image": image,
        "--vector": vector,
        "--text": text,
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
    asked = partial(_asked, exact=not approximate, refine=refine)
    if image is not None:
        file, part = image, _window(window)
        return asked(lambda archive: archive.query_image(file, window=part))
    if vector is not None:
        numbers = _vector(vector)
        return asked(lambda archive: archive.query_vector(numbers))
    if text is not None:
        words = text
        return asked(lambda archive: archive.query_text(words))
    if chip is not None:
        id = chip
        return asked(lambda archive: archive.query_chip(id))
    if at is not None:
        lon, lat = at
        return asked(lambda archive: archive.query_place(lon, lat))
    if code is not None:
        packed = CodeQuery(bytes(codes.from_text(code)), caption="code")
        return asked(lambda archive: packed)
    if like:
        likes, unlikes = _ids(like, "--like"), _ids(unlike, "--unlike")
        return asked(lambda archive: archive.query_examples(likes, unlikes, rule=several))
    if region is not None:
        place = parse_area(region, "--region")
        return asked(lambda archive: archive.query_region(place, rule=several))
    return None


ONE_QUERY = "give one of --image FILE, --vector FILE.npy, --text TEXT, --chip ID, --at LON LAT, --code CODE, --like ID,..., --region AREA"

Asked = Callable[["Archive"], Query]
"""Makes the query of an archive, whose model and chips it needs."""
AskedQuery = Annotated[Asked | None, Parsed(_query)]


def _asked(ask: Asked, *, exact: bool, refine: bool) -> Asked:
    def query(archive: Archive) -> Query:
        asked = ask(archive) if exact else replace(ask(archive), exact=False)
        return archive.refined(asked) if refine else asked

    return query


def _window(text: str | None) -> tuple[int, int, int, int] | None:
    numbers = options.parse_integers(text, "--window", 4)
    return None if numbers is None else (numbers[0], numbers[1], numbers[2], numbers[3])


def _vector(path: Path) -> np.ndarray:
    """The one vector of a numpy file, (D,).

    Raises:
        InputError: the file cannot be read, or has something else.
    """
    import numpy as np

    try:
        found = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(
            f"{path} cannot be read: {reason}", hint="write it with numpy.save(path, vector)"
        ) from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu" or found.ndim > 2:
        raise InputError(f"{path} is not an array of numbers", hint="numpy.save(path, vector)")
    if (found.ndim == 2 and len(found) != 1) or not found.ndim:
        raise InputError(
            f"{path} has an array of {found.shape}, not one vector",
            hint="save one row of it: numpy.save(path, vectors[0])",
        )
    return found.reshape(-1)


def _ids(texts: list[str] | None, option: str) -> tuple[int, ...]:
    return options.parse_integers(",".join(texts), option) or () if texts else ()

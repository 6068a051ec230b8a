"""``dcsh-pg search``: the places that look like this one.

Library: :meth:`dcsh_pg.Archive.similar` and its kin; SQL: ``dcsh.similar``, ``dcsh.similar_to``,
``dcsh.similar_to_examples``, ``dcsh.similar_region``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import say
from dcsh_pg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dcsh_pg.archive import Archive, Query
    from dcsh_pg.database.search.similar import Hit

_QUERY = "What to look for (one of these)"

FAR_SCALE = 2.0
"""A query picture that shows so many times more, or less, than a chip is said to."""
FAR_SHARE = 0.01
"""Hits are near where fewer random pairs of chips are as near as the first."""
FEWEST_CHIPS = 100
"""Fewer chips say little of how far random pairs are apart."""


@app.command()
def search(
    archive: options.ArchiveName,
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
            help="Several chips of the archive; also --like ID --like ID. They are left out of the hits.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID,...",
            help="Beside --like: no hits that are nearer to these chips.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="AREA",
            help="The chips that cover this area, written as for --area; they are left out of the hits.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    rule: Annotated[
        Literal["min", "mean"] | None,
        typer.Option(
            help="Distance to several chips (--like, --region): to the nearest of them, or the mean "
            "to all in whole bits. Default: min.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    k: Annotated[
        int, typer.Option("-k", min=1, help="How many hits.", rich_help_panel=options.FILTER)
    ] = 10,
    area: options.Area = None,
    since: options.Since = None,
    until: options.Until = None,
    max_distance: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="BITS",
            help="At most this Hamming distance.",
            rich_help_panel=options.FILTER,
            show_default=False,
        ),
    ] = None,
    cql2: Annotated[
        str | None,
        typer.Option(
            metavar="FILTER",
            help="The scene's STAC item in pgstac must meet this filter: CQL2-JSON, or a file of it.",
            rich_help_panel=options.FILTER,
            show_default=False,
        ),
    ] = None,
    format: options.Format = "table",
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Also write a file: .geojson, .geojsonl, .parquet, .fgb, .gpkg, .csv, .json, .png for "
            "a contact sheet, .map.png for a map. May be given several times.",
            rich_help_panel=options.OUTPUT,
            show_default=False,
        ),
    ] = None,
    sign: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Python function that takes a scene's URL and returns one that may be read, for the "
            "chips of a contact sheet.",
            rich_help_panel=options.OUTPUT,
            show_default=False,
        ),
    ] = None,
    any_driver: options.AnyDriver = False,
    device: options.Device = "auto",
    dsn: options.Dsn = None,
    pg_bin: options.PgBin = None,
) -> None:
    """Find the chips most like an image, a chip, a place, a code, several chips or a region.

    Exact, ordered by Hamming distance and then by id.

    [dim]dcsh-pg search naip --image pond.png --area -86.5,30.2,-86.1,30.6 --since 2021 -o hits.geojson[/dim]
    """
    queries = {
        "--image": image,
        "--chip": chip,
        "--at": at,
        "--code": code,
        "--like": like or None,
        "--region": region,
    }
    given = [name for name, value in queries.items() if value is not None]
    if len(given) != 1:
        raise UsageError(
            f"{' and '.join(given)} cannot be combined" if given else "nothing to look for",
            hint="give one of --image FILE, --chip ID, --at LON LAT, --code CODE, --like ID,..., "
            "--region AREA",
        )
    if window is not None and image is None:
        raise UsageError("--window without --image", hint="give the image that it is a part of")
    if unlike and not like:
        raise UsageError("--unlike without --like", hint="give the chips to be like as well")
    if rule is not None and not (like or region):
        raise UsageError(
            "--rule without --like or --region", hint="it is the distance to several chips"
        )

    from dcsh_pg import codes, results
    from dcsh_pg.archive import Archive, Query
    from dcsh_pg.database.search import pgstac
    from dcsh_pg.imagery import SceneOptions, parse_area

    for file in out or ():
        results.check_output(file)
    first, end = options.parse_times(since, until)
    filters = {
        "k": k,
        "area": parse_area(area) if area else None,
        "since": first,
        "until": end,
        "max_distance": max_distance,
    }
    stac_filter = None if cql2 is None else pgstac.read_filter(cql2)
    part = options.parse_integers(window, "--window", 4)
    asked = None if code is None else Query(bytes(codes.from_text(code)), "code")
    likes, unlikes = (
        options.parse_integers(",".join(ids), name) if ids else ()
        for name, ids in (("--like", like), ("--unlike", unlike))
    )
    drawn = parse_area(region, "--region") if region else None
    signing = options.parse_function(sign, "--sign")
    opened = Archive.open(archive, dsn=dsn, pg_bin=pg_bin, device=device)
    opened.options = SceneOptions(sign=signing, any_driver=any_driver)
    if image is not None:
        query = opened.query_image(image, window=part)
    elif asked is not None:
        query = asked
    elif likes:
        query = opened.query_examples(likes, unlikes)
    elif drawn is not None:
        query = opened.query_region(drawn)
    else:
        query = opened.query_chip(chip if chip is not None else opened.chip_at(*at))
    if rule is not None:
        filters["rule"] = rule
    _say_if_scales_differ(opened, query)
    if stac_filter is None:
        hits = opened.search(query, **filters)
    else:
        hits = opened.similar_in_stac(query, stac_filter, **filters)
    for file in out or ():
        title = f"{archive}: the {len(hits)} nearest by Hamming distance"
        results.write(
            hits,
            file,
            query=query,
            read_chip=opened.read_chip,
            area=filters["area"],
            title=title,
        )
    results.show(hits, format)
    _say_if_nothing_is_near(opened, query, hits)


def _say_if_scales_differ(opened: Archive, query: Query) -> None:
    scale = opened.relative_scale(query) if query.chip is None else None
    if scale is not None and not 1 / FAR_SCALE < scale < FAR_SCALE:
        say(
            f"{query.caption} covers {scale:.2g} times the width of a chip of archive "
            f"'{opened.record.name}': its hits may mean little; give a picture of the chips' scale, "
            "or a part of it with --window"
        )


def _say_if_nothing_is_near(opened: Archive, query: Query, hits: Sequence[Hit]) -> None:
    """Few random pairs are as near as a hit that is similar.

    Where many chips are nearly equal, as calm water is, a hit at a small distance is near all the
    same: at less than half the median.
    """
    import numpy as np

    chips = opened.record.chips
    if query.code is None or not hits or chips < FEWEST_CHIPS:
        return
    pairs = opened.pair_distances()
    apart = np.repeat(list(pairs), list(pairs.values()))
    share = float(np.mean(apart <= hits[0].distance))
    is_far = hits[0].distance > 0 and 2 * hits[0].distance >= np.median(apart)
    if is_far and share >= max(FAR_SHARE, 10 / chips):
        say(
            f"nothing near: the first hit differs in {hits[0].distance} of {opened.record.bits} "
            f"bits, and {share:.1%} of random pairs of chips differ in no more"
        )

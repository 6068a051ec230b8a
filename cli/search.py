"""``dcsh-pg search``: the chips most similar to a query.

Library: :meth:`dcsh_pg.Archive.search`; SQL: ``dcsh.similar``, ``dcsh.similar_to``,
``dcsh.similar_to_examples``, ``dcsh.similar_region``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import say
from dcsh_pg.cli.output_options import HitsOutput, output_option
from dcsh_pg.cli.search_options import ONE_QUERY, AskedQuery, SearchFilter
from dcsh_pg.database.search.query import ChipQuery, CodeQuery, Query
from dcsh_pg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dcsh_pg.archive import Archive
    from dcsh_pg.database.archives.approximation import Approximation
    from dcsh_pg.database.search.hits import Hit

FAR_SCALE = 2.0
"""A query picture that shows so many times more, or less, than a chip is reported."""
FAR_SHARE = 0.01
"""Hits are near where fewer random pairs of chips are as near as the first."""
FEWEST_CHIPS = 100
"""Fewer chips say little of how far random pairs are apart."""


@app.command()
def search(
    archive: options.ArchiveName,
    query: AskedQuery,
    filter: SearchFilter,
    output: HitsOutput,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 10,
    sign: Annotated[
        str | None,
        output_option(
            metavar="MODULE:FUNCTION",
            help="Python function that takes a scene's URL and returns one that may be read, for the "
            "chips of a contact sheet.",
        ),
    ] = None,
    any_driver: options.AnyDriver = False,
    device: options.Device = "auto",
    database: options.Database = options.DATABASE,
) -> None:
    """Find the chips most similar to an image, a vector, a text, a chip, a place, a code, several chips or a region.

    Exact unless --approximate is given; ordered by Hamming distance, then by id.

    [dim]dcsh-pg search naip --image pond.png --area -86.5,30.2,-86.1,30.6 --since 2021 -o hits.geojson[/dim]
    """
    if query is None:
        raise UsageError("nothing to search for", hint=ONE_QUERY)
    from dcsh_pg.imagery import SceneOptions

    signing = options.parse_function(sign, "--sign")
    opened = database.open(archive, device=device)
    opened.options = SceneOptions(sign=signing, any_driver=any_driver)
    asked = query(opened)
    _say_if_scales_differ(opened, asked)
    hits = opened.search(asked, k=k, filter=filter)
    known = None if asked.exact else _approximation(opened)
    output.put(
        hits,
        title=f"{archive}: the {len(hits)} nearest by Hamming distance"
        + (f" (approximate: {known})" if known else ""),
        area=filter.area,
        query=asked,
        read_chip=opened.read_chip,
    )
    _say_if_nothing_is_near(opened, asked, hits)


def _approximation(opened: Archive) -> Approximation | None:
    """Says how good the answer to a query that need not be exact is."""
    from dcsh_pg.database.archives.approximation import approximation

    known = approximation(opened.connection, opened.name)
    if known is None:
        say(f"exact: searches of archive '{opened.name}' use no approximate index")
    else:
        measure = f"; measure it: dcsh-pg recall {opened.name}" if known.recall is None else ""
        say(f"approximate: {known}{measure}")
    return known


def _say_if_scales_differ(opened: Archive, query: Query) -> None:
    scale = opened.relative_scale(query) if isinstance(query, CodeQuery) else None
    if scale is not None and not 1 / FAR_SCALE < scale < FAR_SCALE:
        say(
            f"{query.caption} covers {scale:.2g} times the width of a chip of archive "
            f"'{opened.name}': its hits may mean little; give a picture of the chips' scale, "
            "or a part of it with --window"
        )


def _say_if_nothing_is_near(opened: Archive, query: Query, hits: Sequence[Hit]) -> None:
    """Few random pairs are as near as a hit that is similar.

    Where many chips are nearly equal, as calm water is, a hit at a small distance is near all the
    same: at less than half the median.
    """
    import numpy as np

    from dcsh_pg.database.search.statistics import pair_distances

    chips = opened.record.chips
    if not isinstance(query, CodeQuery | ChipQuery) or not hits or chips < FEWEST_CHIPS:
        return
    if isinstance(query, CodeQuery) and query.of_text:
        return  # pairs of chips say nothing of the distance between a text and a chip
    pairs = pair_distances(opened.connection, opened.name)
    apart = np.repeat(list(pairs), list(pairs.values()))
    share = float(np.mean(apart <= hits[0].distance))
    is_far = hits[0].distance > 0 and 2 * hits[0].distance >= np.median(apart)
    if is_far and share >= max(FAR_SHARE, 10 / chips):
        say(
            f"nothing near: the first hit differs in {hits[0].distance} of {opened.record.bits} "
            f"bits, and {share:.1%} of random pairs of chips differ in no more"
        )

"""``dcsh-pg search``: the chips most similar to a query.

Library: :meth:`dcsh_pg.Archive.search`; SQL: ``dcsh.similar``, ``dcsh.similar_to``,
``dcsh.similar_to_examples``, ``dcsh.similar_region``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import say
from dcsh_pg.cli.output_options import HitsOutput, output_option
from dcsh_pg.cli.search_options import ONE_QUERY, AskedQuery, SearchFilter
from dcsh_pg.database.search.query import CodeQuery, Query
from dcsh_pg.errors import UsageError

if TYPE_CHECKING:
    from dcsh_pg.archive import Archive
    from dcsh_pg.database.archives.approximation import Approximation

FAR_SCALE = 2.0
"""A query picture that shows so many times more, or less, than a chip is reported."""


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
    manifest: Annotated[
        Path | None,
        output_option(
            metavar="FILE.json",
            help="Also write what was asked of what, and the answer, for 'dcsh-pg replay'. All chips are "
            "read for the archive's digest.",
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
    if manifest is None:
        hits = opened.search(asked, k=k, filter=filter)
    else:
        from dcsh_pg.archive.replay import recorded_search

        hits, written = recorded_search(opened, asked, k=k, filter=filter)
        written.write(manifest)
    known = None if asked.exact else _approximation(opened)
    output.put(
        hits,
        title=f"{archive}: the {len(hits)} nearest by Hamming distance"
        + (f" (approximate: {known})" if known else ""),
        area=filter.area,
        query=asked,
        read_chip=opened.read_chip,
    )
    if hits.note:
        say(hits.note)


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

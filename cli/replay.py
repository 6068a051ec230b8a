"""``dcsh-pg replay``: a search again, from its manifest.

Library: :func:`dcsh_pg.archive.replay.replay`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import say
from dcsh_pg.cli.output_options import HitsOutput
from dcsh_pg.errors import NotReproduced


@app.command()
def replay(
    manifest: Annotated[
        Path, typer.Argument(metavar="FILE", help="A manifest that 'search --manifest' wrote.")
    ],
    archive: Annotated[
        str | None,
        typer.Argument(
            metavar="[ARCHIVE]",
            help="Archive to search. Default: that of the manifest.",
            show_default=False,
        ),
    ] = None,
    *,
    output: HitsOutput,
    database: options.Database = options.DATABASE,
) -> None:
    """Repeat a search from its manifest, and compare the hits.

    Prints the hits of today. Exit code 11 if their ids or distances are not those of the manifest: the
    archive has changed.

    [dim]dcsh-pg replay pond.json naip_copy[/dim]
    """
    from dcsh_pg.archive.manifest import read_manifest
    from dcsh_pg.archive.replay import replay as repeat

    former = read_manifest(manifest)
    opened = database.open(archive or former.archive)
    replayed = repeat(opened, former)
    output.put(
        replayed.hits,
        title=f"{opened.name}: the {len(replayed.hits)} hits of {manifest.name} again",
        area=former.filter.area,
        query=former.query,
        read_chip=opened.read_chip,
    )
    if not replayed.is_same:
        raise NotReproduced(
            f"{manifest} is not reproduced: {'; '.join(replayed.differences)}",
            hint="replay it in the archive as it was, or a copy of it: 'dcsh-pg archive export'",
        )
    for line in replayed.differences:
        say(line)
    say(f"the same {len(replayed.hits)} hits as on {former.made:%Y-%m-%d}")

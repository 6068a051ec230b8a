"""``dcsh-pg stac``: an archive and its model as STAC.  Library: :meth:`dcsh_pg.Archive.to_stac`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import answer, say, working
from dcsh_pg.terminal import printable


@app.command()
def stac(
    archive: options.ArchiveName,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder to write into; created if missing."
        ),
    ],
    codes: Annotated[
        bool,
        typer.Option(
            "--codes",
            help="Also write all codes with their footprints, as GeoParquet with an item.",
        ),
    ] = False,
    model_href: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the model file is published. Default: it is written beside its item.",
        ),
    ] = None,
    license: Annotated[
        str,
        typer.Option(metavar="SPDX", help="License of the imagery: CC-BY-4.0, PDDL-1.0, other."),
    ] = "other",
    source_data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="STAC collection of the scenes. May be given several times."
        ),
    ] = None,
    database: options.Database = options.DATABASE,
) -> None:
    """Describe an archive and its model as STAC, for catalogues and browsers.

    Writes collection.json, the archive; model.json, its model as an item with the machine learning
    extension; and model.onnx. Prints the path of the collection.

    [dim]dcsh-pg stac naip --out naip-stac --codes --license PDDL-1.0[/dim]
    """

    opened = database.open(archive)
    with working(f"describing {opened.record.chips:,} chips"):
        collection = opened.to_stac(
            out, codes=codes, model_href=model_href, license=license, source_data=source_data or ()
        )
    say(f"archive '{archive}': {opened.record.chips:,} chips and their model described in {out}")
    answer(printable(str(collection)), archive=archive, collection=collection)

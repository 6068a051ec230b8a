"""``dcsh-pg demo``: all steps in one command.  Library: :func:`dcsh_pg.demo.demo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import app, console, options
from dcsh_pg.cli.console import as_json


@app.command()
def demo(
    imagery: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Your own scenes or pictures. Default: synthetic scenes."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Output folder. Default: dcsh-demo, with --imagery followed by that folder's name.",
        ),
    ] = None,
    train: Annotated[
        bool,
        typer.Option(
            "--train",
            help="Train a model on the imagery, as for an archive of your own. Default: a small "
            "model that comes with dcsh-pg and knows synthetic scenes.",
        ),
    ] = False,
    database: options.Database = options.DATABASE,
) -> None:
    """Run all steps on a small archive: imagery, ingest, three searches.

    Makes georeferenced scenes, hashes their chips, stores the codes in the embedded PostgreSQL
    and searches by image, by chip and by place. Takes about a minute the first time, a few minutes
    with --train; later runs reuse the results.
    """
    from dcsh_pg import results
    from dcsh_pg.demo import archive_name
    from dcsh_pg.demo import demo as run_demo
    from dcsh_pg.errors import InputError

    if imagery is not None and not imagery.is_dir():
        raise InputError(f"no such folder: {imagery}", hint="--imagery takes a folder of images")
    name = archive_name(imagery)
    folder = folder or Path(name.replace("_", "-"))
    with console.progress() as shown:
        searches = list(
            run_demo(
                folder,
                imagery=imagery,
                train=train,
                dsn=database.dsn,
                pg_bin=database.pg_bin,
                progress=shown,
            )
        )
    if as_json():
        facts = [
            {
                "title": search.title,
                "command": search.command,
                "hits": json.loads(results.dumps(search.hits, "json")),
                "files": search.files,
            }
            for search in searches
        ]
        console.answer("", archive=name, folder=folder, searches=facts)
        return
    for search in searches:
        typer.echo(f"\n{search.title}\n$ {search.command}\n")
        results.show(search.hits)
        for file in search.files:
            typer.echo(f"  wrote {file}")
    chip = next((hit.id for hit in searches[1].hits), 1)
    console.say(
        f'\nIn SQL: psql "$(dcsh-pg db url)" -c "SELECT id, distance, acquired FROM '
        f"dcsh.similar_to('{name}', {chip}, k => 5)\""
    )

"""``dcsh-pg archive rehash``: a new model for an old archive.

Library: :mod:`dcsh_pg.archive.rehashing`; SQL: ``dcsh.begin_rehash``, ``dcsh.end_rehash``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import options
from dcsh_pg.cli.archive import archive, many
from dcsh_pg.cli.console import done, progress, say
from dcsh_pg.errors import UsageError


@archive.command("rehash")
def rehash(
    name: options.ArchiveName,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The new model, an ONNX file.", show_default=False),
    ] = None,
    new_name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Give the new codes to a copy of this name."),
    ] = None,
    swap: Annotated[
        bool, typer.Option("--swap", help="Replace the archive's codes when all are there.")
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Discard the new codes of a run that was not finished.")
    ] = False,
    sign: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Python function that takes a scene's URL and returns one that may be read.",
            show_default=False,
        ),
    ] = None,
    any_driver: options.AnyDriver = False,
    device: options.Device = "auto",
    database: options.Database = options.DATABASE,
) -> None:
    """Hash an archive's chips again with another model, while searches continue.

    Rerun the command to resume. With --swap the new codes replace the old ones in one transaction:
    ids, layer, views, privileges and indexes stay. With --as the archive stays as it is. Without either,
    the new codes are only prepared.

    [dim]dcsh-pg archive rehash naip --model better.onnx --swap[/dim]
    """
    if cancel:
        from dcsh_pg.database.archives import rehash as codes

        with database.connect() as conn:
            was_begun = codes.cancel(conn, name)
        done(
            f"archive '{name}' {'discarded its' if was_begun else 'has no'} new codes",
            archive=name,
            discarded=was_begun,
        )
        return
    if model is None:
        raise UsageError("no model is given", hint="name the new model: --model FILE.onnx")
    if swap and new_name:
        raise UsageError("--swap and --as cannot be combined", hint="leave out one of them")
    from dcsh_pg.archive.rehashing import rehash_archive
    from dcsh_pg.hasher import Hasher
    from dcsh_pg.imagery import SceneOptions
    from dcsh_pg.ingest import Pipeline

    scene_options = SceneOptions(sign=options.parse_function(sign, "--sign"), any_driver=any_driver)
    hasher = Hasher(model, device=device)
    with database.connect() as conn, progress() as shown:
        report = rehash_archive(
            conn, name, hasher, model, new_name=new_name, swap=swap, options=scene_options,
            pipeline=Pipeline(progress=shown),
        )  # fmt: skip
    done(
        f"archive '{new_name or name}': {many(report.chips, 'chip')} hashed with {hasher.card.name}",
        archive=new_name or name,
        chips=report.chips,
        failed=len(report.failures),
        swapped=report.is_swapped,
    )
    report.raise_for_failures()
    if not report.is_swapped:
        say("searches use the old codes; rerun the command with --swap to replace them")

"""``dcsh-pg archive``: the scenes of an archive, their addresses, and its name.

Library: :mod:`dcsh_pg.database.search.scenes`, :mod:`dcsh_pg.database.archives.upkeep`;
SQL: ``dcsh.scenes``, ``dcsh.remove_scenes``, ``dcsh.relocate_scenes``, ``dcsh.rename_archive``.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from dcsh_pg.cli import console, options
from dcsh_pg.cli.archive import archive, many
from dcsh_pg.cli.console import as_json, done, say
from dcsh_pg.cli.console import show as show_line
from dcsh_pg.cli.output_options import RowsOutput
from dcsh_pg.cli.search_options import ChipFilter
from dcsh_pg.errors import UsageError

SHOWN = 5
"""Addresses that a dry run prints."""


@archive.command("scenes")
def list_scenes(
    name: options.ArchiveName,
    filter: ChipFilter,
    output: RowsOutput,
    gone: Annotated[
        bool, typer.Option("--gone", help="Only scenes whose file no longer exists.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="At most N scenes.", show_default=False)
    ] = None,
    database: options.Database = options.DATABASE,
) -> None:
    """List the scenes of an archive: address, date, chips, STAC item, properties.

    --area lists the scenes with a chip in the area.

    [dim]dcsh-pg archive scenes naip --where "gsd <= 0.5" --since 2021[/dim]
    """
    from dcsh_pg.database.archives import registry
    from dcsh_pg.database.search import scenes

    with database.connect() as conn:
        registry.get_archive(conn, name)
        found = scenes.scenes(conn, name, filter, limit=None if gone else limit)
    if gone:
        found = scenes.gone_from_disk(name, found)[:limit]
    output.put(
        found,
        columns=scenes.StoredScene,
        shown=("id", "chips", "acquired", "uri"),
        title=f"{name}: scenes",
    )
    say(many(len(found), "scene"))


@archive.command("remove-scenes")
def remove_scenes(
    name: options.ArchiveName,
    filter: ChipFilter,
    addresses: Annotated[
        list[str] | None,
        typer.Argument(metavar="ADDRESS", help="Paths, URLs or GDAL names of scenes."),
    ] = None,
    gone: Annotated[
        bool, typer.Option("--gone", help="Only scenes whose file no longer exists.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    database: options.Database = options.DATABASE,
) -> None:
    """Remove scenes with their chips: by address, by filter, or those whose files are gone.

    Several conditions select the scenes that meet all of them.

    [dim]dcsh-pg archive remove-scenes naip --until 2015 --yes[/dim]
    """
    from dcsh_pg.database.archives import upkeep
    from dcsh_pg.database.search import scenes
    from dcsh_pg.imagery.pixels.gdal import is_gdal_name

    paths = [a if is_gdal_name(a) else os.path.abspath(a) for a in addresses or ()]
    with database.connect() as conn:
        found = scenes.selected(conn, name, paths, filter, gone=gone)
        chips = sum(scene.chips for scene in found)
        if found and not yes:
            raise UsageError(
                f"archive '{name}' would lose {many(chips, 'chip')} of {many(len(found), 'scene')}, "
                f"{found[0].uri} for example",
                hint="add --yes to remove them; 'dcsh-pg archive scenes' lists them",
            )
        removed, chips = upkeep.remove_scenes(conn, name, [scene.id for scene in found])
    done(
        f"archive '{name}': {many(removed, 'scene')} with {many(chips, 'chip')} removed",
        archive=name,
        scenes=removed,
        chips=chips,
    )


@archive.command()
def relocate(
    name: options.ArchiveName,
    old: Annotated[str, typer.Argument(metavar="OLD", help="Folder or URL that addresses have.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Folder or URL to replace it with.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the new addresses and change nothing.")
    ] = False,
    database: options.Database = options.DATABASE,
) -> None:
    """Update the stored addresses of scenes after their files were moved.

    Replaces OLD by NEW at the start of every address, in one transaction. Files are not touched;
    chips and ids stay.

    [dim]dcsh-pg archive relocate naip /mnt/old/naip s3://imagery/naip --dry-run[/dim]
    """
    from dcsh_pg.database.archives import upkeep
    from dcsh_pg.imagery.parts import files_of

    with database.connect() as conn:
        moves = upkeep.relocated(conn, name, old, new)
        if not dry_run:
            moved = upkeep.relocate(conn, name, old, new)
            done(f"archive '{name}': {many(moved, 'scene')} relocated", archive=name, scenes=moved)
    if dry_run and as_json():
        console.answer("", archive=name, moves=[[move.former, move.uri] for move in moves])
    elif dry_run:
        for move in moves[:SHOWN]:
            show_line(f"{move.former} -> {move.uri}")
        say(f"archive '{name}': {many(len(moves), 'scene')} would be relocated")
    first = moves[0].uri
    is_there = all(map(os.path.exists, files_of(first)))
    if os.path.isabs(first) and not first.startswith("/vsi") and not is_there:
        say(f"{first} does not exist on this machine")


@archive.command()
def rename(
    name: options.ArchiveName,
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="New name of the archive.")],
    database: options.Database = options.DATABASE,
) -> None:
    """Rename an archive with its table and layer; privileges and dependent views stay.

    [dim]dcsh-pg archive rename naip naip_2021[/dim]
    """
    from dcsh_pg.database.archives import upkeep

    with database.connect() as conn:
        upkeep.rename_archive(conn, name, new_name)
    done(f"archive '{name}' is now '{new_name}'", archive=new_name, former=name)

"""``dcsh-pg archive export`` and ``import``: an archive as one portable file.

Library: :mod:`dcsh_pg.archive.export_file`, :mod:`dcsh_pg.archive.import_file`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import options
from dcsh_pg.cli.archive import archive, many
from dcsh_pg.cli.console import done, progress


@archive.command("export")
def export_archive(
    name: options.ArchiveName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ZIP file to write.")],
    database: options.Database = options.DATABASE,
) -> None:
    """Write an archive with its scenes and model into one file, which 'archive import' reads.

    A ZIP file of GeoParquet (chips), JSON (scenes) and ONNX (model). Imagery is not part of it.

    [dim]dcsh-pg archive export naip naip.zip[/dim]
    """
    from dcsh_pg.archive.export_file import export_archive
    from dcsh_pg.files import check_writable

    check_writable(file)
    with database.connect() as conn, progress() as shown:
        chips = export_archive(conn, name, file, progress=shown)
    size = file.stat().st_size
    done(
        f"wrote {file}: {many(chips, 'chip')}, {size / 1e6:.1f} MB",
        archive=name,
        file=file,
        chips=chips,
        bytes=size,
    )


@archive.command("import")
def import_archive(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file that 'archive export' wrote.")
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="Name of the new archive. Default: that of the exported one.",
        ),
    ] = None,
    database: options.Database = options.DATABASE,
) -> None:
    """Create an archive from a file that 'archive export' wrote.

    Runs in one transaction: an import that is killed leaves nothing. Checks digests and all
    values.

    [dim]dcsh-pg archive import naip.zip --as naip_2021[/dim]
    """
    from dcsh_pg.archive.import_file import import_archive

    with database.connect() as conn, progress() as shown:
        record = import_archive(conn, file, name, progress=shown)
    done(
        f"archive '{record.name}' is imported: {many(record.chips, 'chip')} of "
        f"{many(record.scenes, 'scene')}",
        archive=record.name,
        chips=record.chips,
        scenes=record.scenes,
    )

"""``dcsh-pg archive hash``: the code of an image.  Library: :meth:`dcsh_pg.Archive.query_image`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import options
from dcsh_pg.cli.archive import archive
from dcsh_pg.cli.console import answer


@archive.command("hash")
def hash_image(
    name: options.ArchiveName,
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="An image of any size.", show_default=False)
    ],
    device: options.Device = "auto",
    database: options.Database = options.DATABASE,
) -> None:
    """Print the code of an image, hashed with an archive's model, in hexadecimal.

    For searches by programs that have no model: psql, QGIS.

    [dim]dcsh-pg archive hash naip pond.png[/dim]
    """
    from dcsh_pg import codes

    query = database.open(name, device=device).query_image(image)
    code = f"0x{codes.to_hex(query.code)}"
    answer(code, archive=name, image=image, code=code)

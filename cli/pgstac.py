"""``dcsh-pg pgstac``: chips joined with the STAC items of their scenes in pgstac.

Library: :func:`dcsh_pg.database.search.pgstac.create_view`; SQL: ``dcsh.create_pgstac_view``,
``dcsh.drop_pgstac_view``.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import answer, done


@app.command()
def pgstac(
    archive: options.ArchiveName,
    drop: Annotated[bool, typer.Option("--drop", help="Remove the view.")] = False,
    database: options.Database = options.DATABASE,
) -> None:
    """Create a view that joins an archive with pgstac in the same database.

    dcsh.ARCHIVE_items has a row for each chip whose scene is a STAC item in pgstac, with the item's
    collection, id, time and properties. Prints the view's name. To search by properties of items:
    dcsh-pg search ARCHIVE --cql2 CQL2.

    [dim]dcsh-pg pgstac naip[/dim]
    """
    from dcsh_pg.database.search import pgstac

    conn = database.connect()
    if not drop:
        view = pgstac.create_view(conn, archive)
        answer(view, archive=archive, view=view)
    elif pgstac.drop_view(conn, archive):
        done(
            f"the view of archive '{archive}' and its items is dropped", archive=archive, view=None
        )
    else:
        done(f"archive '{archive}' had no view of its items", archive=archive, view=None)

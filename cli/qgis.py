"""``dcsh-pg qgis``: a QGIS project.  Library: :meth:`dcsh_pg.Archive.to_qgis`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import answer, say
from dcsh_pg.cli.search_options import AskedQuery, SearchFilter
from dcsh_pg.terminal import printable


@app.command()
def qgis(
    archive: options.ArchiveName,
    query: AskedQuery,
    filter: SearchFilter,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Project to write, .qgz or .qgs. Default: ARCHIVE.qgz.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 50,
    password: Annotated[
        bool,
        typer.Option(
            "--password",
            help="Write the database's password into the project; else QGIS asks for it.",
        ),
    ] = False,
    scenes: Annotated[
        int, typer.Option(min=0, help="Number of the hits' scenes to show below them.")
    ] = 8,
    basemap: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Tiles to show below all: a URL with {z}, {x} and {y}.",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
    database: options.Database = options.DATABASE,
) -> None:
    """Write a QGIS project: the archive's chips, and a search's hits above their imagery.

    Without a query it searches for chips similar to the first. With PostGIS its layers are tables and
    a query of the database; change the query in QGIS with "Update SQL Layer". Without PostGIS it
    shows a GeoPackage that is written beside it.

    [dim]dcsh-pg qgis naip --at -86.31 30.42 -k 100 --out ponds.qgz[/dim]
    """
    from dcsh_pg.catalog.qgis import check_project

    project = out or Path(f"{archive}.qgz")
    check_project(project)
    opened = database.open(archive, device=device)
    files = opened.to_qgis(
        project, query and query(opened), k=k, filter=filter,
        password=password, scenes=scenes, basemap=basemap,
    )  # fmt: skip
    if len(files) > 1:
        say(f"without PostGIS QGIS shows a copy of the chips: {files[1]}")
    answer(printable(str(files[0])), archive=archive, project=files[0], files=files)

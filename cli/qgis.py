"""``dcsh-pg qgis``: a QGIS project.  Library: :meth:`dcsh_pg.Archive.to_qgis`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import say
from dcsh_pg.errors import UsageError

_QUERY = "What to look for (at most one; default: like the first chip)"


@app.command()
def qgis(
    archive: options.ArchiveName,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Project to write, .qgz or .qgs. Default: ARCHIVE.qgz.",
            show_default=False,
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="An image of any size, hashed with the archive's own model.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    chip: Annotated[
        int | None,
        typer.Option(
            metavar="ID",
            help="A chip of the archive.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LON LAT",
            help="The chip at a place, in degrees.",
            rich_help_panel=_QUERY,
            show_default=False,
        ),
    ] = None,
    k: Annotated[
        int, typer.Option("-k", min=1, help="How many hits.", rich_help_panel=options.FILTER)
    ] = 50,
    area: options.Area = None,
    since: options.Since = None,
    until: options.Until = None,
    password: Annotated[
        bool,
        typer.Option(
            "--password",
            help="Write the database's password into the project; else QGIS asks for it.",
        ),
    ] = False,
    device: options.Device = "auto",
    dsn: options.Dsn = None,
    pg_bin: options.PgBin = None,
) -> None:
    """Make a QGIS project: the archive's chips, and a search's hits coloured by distance.

    With PostGIS its layers are tables and a query of the database; change the query in QGIS with
    "Update SQL Layer". Without PostGIS it shows a GeoPackage that is written beside it.

    [dim]dcsh-pg qgis naip --at -86.31 30.42 -k 100 --out ponds.qgz[/dim]
    """
    queries = {"--image": image, "--chip": chip, "--at": at}
    given = [name for name, value in queries.items() if value is not None]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} cannot be combined",
            hint="give one of --image FILE, --chip ID, --at LON LAT, or none",
        )
    from dcsh_pg.archive import Archive
    from dcsh_pg.imagery import parse_area

    filters = {
        "k": k,
        "area": parse_area(area) if area else None,
        "since": options.parse_time(since, "--since"),
        "until": options.parse_time(until, "--until"),
    }
    opened = Archive.open(archive, dsn=dsn, pg_bin=pg_bin, device=device)
    query = None
    if image is not None:
        query = opened.query_image(image)
    elif given:
        query = opened.query_chip(chip if chip is not None else opened.chip_at(*at))
    files = opened.to_qgis(out or Path(f"{archive}.qgz"), query, password=password, **filters)
    if len(files) > 1:
        say(f"without PostGIS QGIS shows a copy of the chips: {files[1]}")
    typer.echo(files[0])

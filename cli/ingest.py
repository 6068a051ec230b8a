"""``dcsh-pg ingest``: scenes in, rows out.  Library: :meth:`dcsh_pg.Archive.ingest`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import progress, say

_SCENES = "What is known about the scenes"
_RUN = "Running"


@app.command()
def ingest(
    archive: options.ArchiveName,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Files, folders (searched through), globs, or anything GDAL opens.",
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", "-m", metavar="FILE", help="ONNX model; needed when the archive is new."
        ),
    ] = None,
    chip_size: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Width and height of a chip. Default: the model's; plain pictures are taken whole.",
            rich_help_panel=options.READING,
            show_default=False,
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Step between chips. Default: the chip size.",
            rich_help_panel=options.READING,
            show_default=False,
        ),
    ] = None,
    edge: Annotated[
        Literal["shift", "pad", "drop"] | None,
        typer.Option(
            help="At the right and lower edge: move the last chip inward, pad it, or leave it out. "
            "Default: shift.",
            rich_help_panel=options.READING,
            show_default=False,
        ),
    ] = None,
    bands: options.Bands = None,
    scale: options.Scale = None,
    min_valid: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="Leave out chips with fewer valid pixels than this. Default: 0.5.",
            rich_help_panel=options.READING,
            show_default=False,
        ),
    ] = None,
    georeference: Annotated[
        bool,
        typer.Option(
            "--georeference/--no-georeference",
            help="Refuse rasters without a coordinate system, or take them without footprint.",
            rich_help_panel=_SCENES,
        ),
    ] = True,
    acquired: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Acquisition time of all scenes. Default: from tags or file names.",
            rich_help_panel=_SCENES,
            show_default=False,
        ),
    ] = None,
    date_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Where the date is in file names: '_%Y%m%d_' for example.",
            rich_help_panel=_SCENES,
            show_default=False,
        ),
    ] = None,
    sidecar: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV or GeoJSON with a footprint, date and properties per picture.",
            rich_help_panel=_SCENES,
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Chips hashed at once.", rich_help_panel=_RUN)
    ] = 64,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads that read ahead.", rich_help_panel=_RUN)
    ] = 4,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Dask scheduler, tcp://HOST:8786: its workers read and hash the scenes, which "
            "they must find under the same paths.",
            rich_help_panel=_RUN,
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    dsn: options.Dsn = None,
    pg_bin: options.PgBin = None,
) -> None:
    """Hash scenes and store their codes and footprints in an archive.

    Makes the archive on first use; how its scenes are read is chosen then, and kept. Run it again
    at any time: what is stored already is passed over, also after the run was killed. A scene that
    cannot be read is recorded and reported, and does not stop the rest (exit code 5).

    [dim]dcsh-pg ingest naip /data/naip --model model.onnx[/dim]
    """
    from dcsh_pg.archive import Archive

    time = options.parse_time(acquired, "--acquired")
    opened = Archive.create(
        archive,
        model,
        sources=sources,
        chip_size=chip_size,
        stride=stride,
        edge=edge,
        bands=options.parse_integers(bands, "--bands"),
        scale=options.parse_scale(scale),
        min_valid=min_valid,
        dsn=dsn,
        pg_bin=pg_bin,
        device=device,
    )
    with progress(quiet=quiet) as shown:
        report = opened.ingest(
            sources,
            georeference=georeference,
            acquired=time,
            date_pattern=date_pattern,
            sidecar=sidecar,
            batch=batch_size,
            threads=threads,
            scheduler=scheduler,
            progress=shown,
        )
    if as_json:
        where = {"scheduler": scheduler} if scheduler else {"provider": opened.hasher.provider}
        typer.echo(json.dumps({"archive": archive} | where | report.to_json()))
    elif report.failed < report.scenes:
        say(f"archive '{archive}': {report.summary()}")
    report.raise_for_failures()

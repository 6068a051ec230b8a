"""``dcsh-pg ingest``: hash scenes and store them.  Library: :meth:`dcsh_pg.Archive.ingest`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from dcsh_pg.cli import app, embedding_options, options
from dcsh_pg.cli.console import as_json, progress, say
from dcsh_pg.database.search.period import to_time
from dcsh_pg.errors import UsageError

_table_option = partial(typer.Option, rich_help_panel="From a table of footprints")
_scene_option = partial(typer.Option, rich_help_panel="Scene metadata")
_run_option = partial(typer.Option, rich_help_panel="Running")


@app.command()
def ingest(
    archive: options.ArchiveName,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Files, folders (with sub-folders), globs, or anything GDAL opens. Omit with --stac, "
            "--from-table or --embeddings.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", "-m", metavar="FILE", help="ONNX model; required for a new archive."
        ),
    ] = None,
    chip_size: Annotated[
        int | None,
        options.reading_option(
            metavar="PIXELS",
            help="Width and height of a chip. Default: the model's; plain pictures are hashed whole.",
        ),
    ] = None,
    stride: Annotated[
        int | None,
        options.reading_option(
            metavar="PIXELS", help="Step between chips. Default: the chip size."
        ),
    ] = None,
    edge: Annotated[
        Literal["shift", "pad", "drop"] | None,
        options.reading_option(
            help="At the right and lower edge: shift the last chip inward, pad it, or drop "
            "it. "
            "Default: shift."
        ),
    ] = None,
    anchor: Annotated[
        bool,
        options.reading_option(
            "--anchor",
            help="Align the grid of chips with the scene's coordinate reference system instead of its "
            "corner, so that scenes of one place share a grid. With --edge drop (then the default) or "
            "pad.",
        ),
    ] = False,
    bands: options.Bands = None,
    scale: options.Scale = None,
    raw_values: options.RawValues = False,
    nodata: options.Nodata = None,
    preset: options.Preset = None,
    mask: options.MaskBand = None,
    resolution: options.Resolution = None,
    multiscale: Annotated[
        str | None,
        options.reading_option(
            metavar="1,2,4",
            help="Also make chips of so many times the chip size a side, reduced to it for the model. "
            "Default: 1.",
        ),
    ] = None,
    min_valid: Annotated[
        float | None,
        options.reading_option(
            metavar="FRACTION",
            help="Skip chips with a smaller fraction of valid pixels. Default: 0.5.",
        ),
    ] = None,
    stac: options.Stac = None,
    asset: options.Asset = None,
    collection: options.Collection = None,
    sign: options.Sign = None,
    from_table: Annotated[
        str | None,
        _table_option(
            metavar="SCHEMA.TABLE",
            help="A table or view of the same database instead of SOURCE; each row is a scene, and "
            "the other columns become its properties.",
        ),
    ] = None,
    location: Annotated[
        str | None,
        _table_option(
            metavar="COLUMN",
            help="Column of the file name or URL. Default: location, as in gdaltindex.",
        ),
    ] = None,
    geometry: Annotated[
        str | None,
        _table_option(
            metavar="COLUMN",
            help="Column of the footprint, for rasters that are not georeferenced; or in tables of "
            "embeddings.",
        ),
    ] = None,
    acquired_column: Annotated[
        str | None, _table_option(metavar="COLUMN", help="Column of the acquisition time.")
    ] = None,
    location_root: Annotated[
        Path | None,
        _table_option(
            metavar="DIR",
            help="Folder that relative locations start from. Default: the current one.",
        ),
    ] = None,
    embeddings: embedding_options.Embeddings = None,
    embedding_column: embedding_options.EmbeddingColumn = None,
    footprint: Annotated[
        float | None,
        embedding_options.option(
            min=0.01,
            metavar="METRES",
            help="Side of the square around a point that is the footprint of its embedding. Default: "
            "320 for models of earth-index.",
        ),
    ] = None,
    georeference: Annotated[
        bool,
        _scene_option(
            "--georeference/--no-georeference",
            help="Refuse rasters that are not georeferenced, or ingest them without a footprint.",
        ),
    ] = True,
    acquired: Annotated[
        str | None,
        _scene_option(
            metavar="TIME", help="Acquisition time of all scenes. Default: from tags or file names."
        ),
    ] = None,
    date_pattern: Annotated[
        str | None,
        _scene_option(
            metavar="PATTERN", help="Format of the date in file names, such as '_%Y%m%d_'."
        ),
    ] = None,
    sidecar: Annotated[
        Path | None,
        _scene_option(
            metavar="FILE",
            help="CSV or GeoJSON file with a footprint, date and properties for each picture.",
        ),
    ] = None,
    batch_size: Annotated[int, _run_option(min=1, help="Chips hashed at once.")] = 64,
    threads: Annotated[int, _run_option(min=1, help="Threads that read ahead.")] = 4,
    scheduler: Annotated[
        str | None,
        _run_option(
            metavar="ADDRESS",
            help="Dask scheduler, tcp://HOST:8786, whose workers read and hash the scenes under the "
            "same paths.",
        ),
    ] = None,
    any_driver: options.AnyDriver = False,
    device: options.Device = "auto",
    database: options.Database = options.DATABASE,
) -> None:
    """Hash scenes and store their codes and footprints in an archive.

    Creates the archive on first use, with its model and reading options. Rerun at any time, also
    after the run was killed: scenes already stored are skipped. A scene that cannot be read is
    recorded and reported; the others are stored (exit code 5).

    [dim]dcsh-pg ingest naip /data/naip --model model.onnx[/dim]

    [dim]dcsh-pg ingest naip --stac items.ndjson --asset image[/dim]

    [dim]dcsh-pg ingest naip --from-table public.tiles --geometry geom[/dim]

    [dim]dcsh-pg ingest clay --embeddings /data/clay --model clay.onnx[/dim]
    """
    from dcsh_pg.archive import Archive
    from dcsh_pg.database.archives.registry import drop_empty_archive
    from dcsh_pg.embeddings import Columns
    from dcsh_pg.imagery import SceneOptions
    from dcsh_pg.ingest import Pipeline

    of_tables: dict[str, object] = {"--geometry": geometry, "--acquired-column": acquired_column}
    of_embeddings: dict[str, object] = {
        "--embedding-column": embedding_column,
        "--footprint": footprint,
    }
    _check_one_source(
        {
            "SOURCE...": sources,
            "--stac": stac,
            "--from-table": from_table,
            "--embeddings": embeddings,
        },
        {
            "SOURCE...": {"--sidecar": sidecar},
            "--stac": {"--asset": asset, "--collection": collection, "--sign": sign},
            "--from-table": {"--location": location, "--location-root": location_root}
            | ({} if embeddings else of_tables),
            "--embeddings": of_embeddings,
        },
    )
    signing = options.parse_function(sign, "--sign")
    time = to_time(acquired, "--acquired")
    opened = Archive.create(
        archive,
        model,
        sources=sources or (),
        chip_size=chip_size,
        stride=stride,
        edge=edge,
        bands=options.parse_bands(bands),
        scale=options.parse_scale(scale),
        min_valid=min_valid,
        anchor=anchor or None,
        raw_values=raw_values or None,
        nodata=nodata,
        preset=preset,
        mask=options.parse_mask(mask) or mask,
        resolution=resolution,
        multiscale=options.parse_integers(multiscale, "--multiscale"),
        at_once=False,  # an invalid source leaves no archive
        dsn=database.dsn,
        pg_bin=database.pg_bin,
        device="cpu" if scheduler else device,
    )
    opened.device = device
    opened.options = SceneOptions(
        georeference=georeference,
        acquired=time,
        date_pattern=date_pattern,
        sign=signing,
        any_driver=any_driver,
    )
    with progress() as shown:
        pipeline = Pipeline(batch_size, threads, scheduler, shown)
        if embeddings:
            columns = Columns(embedding_column, geometry, acquired_column, footprint)
            report = opened.ingest_embeddings(embeddings, columns=columns, pipeline=pipeline)
        elif stac is not None:
            report = opened.ingest_stac(stac, asset=asset, collection=collection, pipeline=pipeline)
        elif from_table is not None:
            report = opened.ingest_table(
                from_table,
                location=location or "location",
                geometry=geometry,
                acquired_column=acquired_column,
                root=location_root,
                pipeline=pipeline,
            )
        else:
            report = opened.ingest(sources or (), sidecar=sidecar, pipeline=pipeline)
    if opened.is_new and report.failed == report.scenes:
        drop_empty_archive(opened.connection, opened.record)
    if as_json():
        where = {"scheduler": scheduler} if scheduler else {"provider": opened.hasher.provider}
        typer.echo(json.dumps({"archive": archive} | where | report.to_json()))
    elif report.failed < report.scenes:
        say(f"archive '{archive}': {report.summary()}")
    report.raise_for_failures()


def _check_one_source(sources: dict[str, object], needing: dict[str, dict[str, object]]) -> None:
    """Refuses none or several kinds of source, and options that belong to another kind."""
    given = [kind for kind, value in sources.items() if value]
    if len(given) != 1:
        raise UsageError(
            f"{' and '.join(given)} cannot be combined" if given else "nothing to ingest",
            hint="give at least one SOURCE, --stac FILE|DIR|URL, --from-table SCHEMA.TABLE or --embeddings "
            "SOURCE; see 'dcsh-pg ingest --help'",
        )
    for kind, dependent in needing.items():
        for option, value in dependent.items():
            if value is not None and kind != given[0]:
                raise UsageError(
                    f"{option} requires {kind}, not {given[0]}", hint=f"leave out {option}"
                )

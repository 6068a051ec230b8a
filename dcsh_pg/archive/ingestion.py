"""Ingests files, STAC items and tables of footprints, and hashes images; methods of an archive.

What ingests takes ``options``, how the scenes are opened, dated and georeferenced (None: as
``archive.options`` says), and ``pipeline``, how the run goes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dcsh_pg.archive.opened import OpenArchive
from dcsh_pg.cluster.pipeline import ingest_on_cluster
from dcsh_pg.cluster.worker import Model
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.archives.source_table import source_rows
from dcsh_pg.embeddings import PRODUCTS, Columns, Making, Using, find_embeddings
from dcsh_pg.errors import InputError, ModelError, UsageError
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.scene import SceneRecord
from dcsh_pg.imagery.sources.files import files_listing, find_scenes
from dcsh_pg.imagery.sources.listed import Listed, listed_scenes
from dcsh_pg.imagery.sources.stac import stac_listing
from dcsh_pg.imagery.sources.table import table_listing
from dcsh_pg.ingest import IngestReport, Pipeline, hash_scenes
from dcsh_pg.ingest import ingest as store
from dcsh_pg.ingest.embeddings import ingest_embeddings as store_embeddings
from dcsh_pg.progress import SILENT, Progress


def ingest(
    archive: OpenArchive,
    sources: Sequence[str],
    *,
    sidecar: Path | None = None,
    options: SceneOptions | None = None,
    pipeline: Pipeline | None = None,
) -> IngestReport:
    """Hashes the scenes of ``sources`` that are not in the archive yet, and stores them.

    Args:
        sources: files, folders, globs, URLs or GDAL names.
        sidecar: CSV or GeoJSON file with the footprints, dates and properties of pictures.

    Raises:
        InputError: a source does not exist or holds no image.
        ServerError: no Dask scheduler answers at the pipeline's address, or it was lost, has no
            workers or other versions.
    """
    return ingest_listed(archive, files_listing(sources, sidecar=sidecar), options, pipeline)


def ingest_stac(
    archive: OpenArchive,
    source: str,
    *,
    asset: str | None = None,
    collection: str | None = None,
    options: SceneOptions | None = None,
    pipeline: Pipeline | None = None,
) -> IngestReport:
    """:func:`ingest` of STAC items: one scene each, with collection, item id and properties.

    Args:
        source: file or URL of an item, an item collection, newline-delimited items, a catalogue
            or a collection; or a folder.
        asset: key of the asset to read; None takes those that have the bands of the reading, if it names
            them, else the only one with the role 'data', else 'visual', else the only image with that role.
        collection: only the items of the collection with that id.

    Assets are opened by their signed hrefs; the hrefs themselves are stored.

    Raises:
        InputError: the source cannot be read, is not STAC, or has no such item.
        ServerError: as :func:`ingest`.
    """
    progress = pipeline.progress if pipeline else SILENT
    listed = stac_listing(
        source, asset=asset, collection=collection, reading=archive.reading, progress=progress
    )
    return ingest_listed(archive, listed, options, pipeline)


def ingest_table(
    archive: OpenArchive,
    table: str,
    *,
    location: str = "location",
    geometry: str | None = None,
    acquired_column: str | None = None,
    root: Path | None = None,
    options: SceneOptions | None = None,
    pipeline: Pipeline | None = None,
) -> IngestReport:
    """:func:`ingest` of the images that a table of the same database lists: each row a scene.

    Args:
        table: SCHEMA.TABLE, or a view; gdaltindex with ogr2ogr makes one.
        location: column of the path, URL or GDAL name.
        geometry: column of the footprint, for images that are not georeferenced: PostGIS's
            geometry, PostgreSQL's polygon, or WKT; the last two in EPSG:4326.
        acquired_column: column of the acquisition time.
        root: folder that relative locations start from; None is the current one.

    The other columns become properties of the scenes.  Scenes come in the order of their
    locations.

    Raises:
        NotFound: no such table.
        InputError: it has no rows.
        UsageError: it has no such column.
        ServerError: this role may not read it, or as :func:`ingest`.
    """
    rows = source_rows(
        archive.connection, table, location=location, geometry=geometry, acquired=acquired_column
    )
    listed = list(table_listing(rows, table=table, root=root))
    if not listed:
        raise InputError(f"table {table} has no rows", hint="fill it, or name another")
    return ingest_listed(archive, listed, options, pipeline)


def ingest_embeddings(
    archive: OpenArchive,
    sources: Sequence[str],
    *,
    columns: Columns = Columns(),
    options: SceneOptions | None = None,
    pipeline: Pipeline | None = None,
) -> IngestReport:
    """:func:`ingest` of embeddings that another model made, see docs/embeddings.md.

    Each file is a scene; each row of a table, and each window of a raster, is a chip.

    Args:
        sources: files, folders, globs or URLs.
        columns: which columns of tables have what.

    Raises:
        InputError: a source does not exist or has no embeddings.
        ModelError: the model of the archive takes images.
        UsageError: the pipeline has a Dask scheduler.
    """
    if pipeline and pipeline.scheduler is not None:
        raise UsageError(
            "--scheduler and --embeddings cannot be combined",
            hint="leave out --scheduler: hashing vectors takes less time than to send them to workers",
        )
    card = archive.record.card
    if not card.takes_vectors:
        raise ModelError(
            f"the model {card.name} takes images, not embeddings",
            hint="train one for them: dcsh-pg train --embeddings SOURCE",
        )
    making = Making.from_json(card.embedding, source=f"the model {card.name}")
    if columns.footprint is None and making.name in PRODUCTS:
        columns = dataclasses.replace(columns, footprint=PRODUCTS[making.name].footprint)
    using = Using(
        making,
        archive.reading,
        columns,
        options or archive.options,
    )
    files = find_embeddings(sources, using)
    archive.make()
    loader = Loader(archive.connection, archive.record)
    progress = pipeline.progress if pipeline else SILENT
    return store_embeddings(files, archive.hasher, loader, progress)


def hash_vectors(
    archive: OpenArchive, vectors: np.ndarray | Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings, numbers (N, D) or (D,) -> packed codes uint8 (N, K/8), z float32 (N, K).

    Raises:
        ModelError: the archive's model takes images, or vectors of another dimension, or a number is
            not finite.
    """
    card = archive.record.card
    if not card.takes_vectors:
        raise ModelError(
            f"the model {card.name} takes images, not vectors", hint="search with --image FILE"
        )
    try:
        numbers = np.atleast_2d(np.asarray(vectors, np.float32))
    except (ValueError, TypeError) as error:
        raise ModelError(f"the vector is not an array of numbers: {error}") from None
    return archive.hasher.hash_real(numbers)


def require_images(archive: OpenArchive) -> None:
    """Raises ModelError if the archive's model takes embeddings."""
    card = archive.record.card
    if card.takes_vectors:
        raise ModelError(
            f"the model {card.name} takes embeddings of {card.bands} numbers, not images",
            hint="ingest them with --embeddings SOURCE, search with --vector FILE.npy",
        )


def ingest_listed(
    archive: OpenArchive,
    listed: Iterable[Listed],
    options: SceneOptions | None = None,
    pipeline: Pipeline | None = None,
) -> IngestReport:
    """:func:`ingest` of the entries of any source.

    Raises:
        ServerError: as :func:`ingest`.
    """
    require_images(archive)
    pipeline, entries = pipeline or Pipeline(), list(listed)
    scenes = listed_scenes(
        entries,
        reading=archive.reading,
        bands=archive.record.card.bands,
        options=options or archive.options,
    )
    # An entry that failed may have become a scene, which has another address.
    stale = [entry.address for entry in entries if entry.address != entry.uri]
    if archive.record.id and stale:
        Loader(archive.connection, archive.record).forget_errors(stale)
    archive.make()
    loader = Loader(archive.connection, archive.record)
    if pipeline.scheduler is None:
        return store(scenes, archive.hasher, loader, pipeline)
    model = Model(archive.record.model_sha256, archive.model_file().read_bytes())
    return ingest_on_cluster(scenes, model, loader, pipeline, device=archive.device)


def hash_images(
    archive: OpenArchive, sources: Sequence[str], *, progress: Progress = SILENT
) -> tuple[np.ndarray, list[SceneRecord]]:
    """Hashes images without storing them: codes uint8 (N, K/8) and a record for each code.

    Raises:
        InputError: one of them cannot be read.
    """
    require_images(archive)
    scenes = find_scenes(
        sources,
        reading=dataclasses.replace(archive.reading, min_valid=0.0),
        bands=archive.record.card.bands,
        options=SceneOptions(georeference=False),
    )
    codes: list[np.ndarray] = []
    records: list[SceneRecord] = []
    progress.start("hashing queries")
    for done in hash_scenes(scenes, archive.hasher, pipeline=Pipeline(progress=progress)):
        if done.error is not None:
            raise done.error
        assert done.record is not None  # it has no error
        for part in done.codes:
            codes.append(part)
            records.extend([done.record] * len(part))
    return np.concatenate(codes), records

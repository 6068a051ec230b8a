"""Scenes in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from dcsh_pg.archive.opened import OpenArchive
from dcsh_pg.cluster.pipeline import ingest_on_cluster
from dcsh_pg.cluster.worker import Model
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.archives.source_table import source_rows
from dcsh_pg.errors import InputError
from dcsh_pg.imagery.scene import Scene, SceneRecord
from dcsh_pg.imagery.sources.files import find_scenes
from dcsh_pg.imagery.sources.listed import Listed, listed_scenes
from dcsh_pg.imagery.sources.stac import stac_listing
from dcsh_pg.imagery.sources.table import table_listing
from dcsh_pg.ingest import IngestReport, hash_scenes, ingest
from dcsh_pg.progress import SILENT, Progress


class Ingestion(OpenArchive):
    """Ingests files, STAC items and tables of footprints; hashes images."""

    def ingest(
        self,
        sources: Sequence[str],
        *,
        georeference: bool = True,
        acquired: datetime | None = None,
        date_pattern: str | None = None,
        sidecar: Path | None = None,
        batch: int = 64,
        threads: int = 4,
        scheduler: str | None = None,
        progress: Progress = SILENT,
    ) -> IngestReport:
        """Hashes the scenes of ``sources`` that are not in the archive yet, and stores them.

        With ``scheduler``, the address of a Dask scheduler, its workers read and hash the scenes;
        the rows are the same.

        Raises:
            InputError: a source does not exist or holds no image.
            ServerError: no Dask scheduler answers there, or it was lost, has no workers or other
                versions.
        """
        scenes = find_scenes(
            sources,
            reading=self.reading,
            bands=self.record.card.bands,
            georeference=georeference,
            acquired=acquired,
            date_pattern=date_pattern,
            sidecar=sidecar,
            any_driver=self.any_driver,
        )
        return self._ingest(scenes, scheduler, batch=batch, threads=threads, progress=progress)

    def ingest_stac(
        self,
        source: str,
        *,
        asset: str | None = None,
        collection: str | None = None,
        georeference: bool = True,
        acquired: datetime | None = None,
        date_pattern: str | None = None,
        batch: int = 64,
        threads: int = 4,
        scheduler: str | None = None,
        progress: Progress = SILENT,
    ) -> IngestReport:
        """:meth:`ingest` of STAC items: one scene each, with collection, item id and properties.

        Args:
            source: file or URL of an item, an item collection, newline-delimited items, a catalogue
                or a collection; or a folder.
            asset: key of the asset to read; None takes the only one with the role 'data', else
                'visual', else the only image with that role.
            collection: only the items of the collection with that id.

        Assets are opened by what ``sign`` makes of their hrefs; stored are the hrefs.

        Raises:
            InputError: the source cannot be read, is no STAC, or has no such item.
            ServerError: as :meth:`ingest`.
        """
        listed = list(stac_listing(source, asset=asset, collection=collection, progress=progress))
        scenes = self._scenes_of(listed, georeference, acquired, date_pattern)
        return self._ingest(scenes, scheduler, batch=batch, threads=threads, progress=progress)

    def ingest_table(
        self,
        table: str,
        *,
        location: str = "location",
        geometry: str | None = None,
        acquired_column: str | None = None,
        root: Path | None = None,
        georeference: bool = True,
        acquired: datetime | None = None,
        date_pattern: str | None = None,
        batch: int = 64,
        threads: int = 4,
        scheduler: str | None = None,
        progress: Progress = SILENT,
    ) -> IngestReport:
        """:meth:`ingest` of the images that a table of the same database lists: each row a scene.

        Args:
            table: SCHEMA.TABLE, a view too; gdaltindex with ogr2ogr makes one.
            location: column of the path, URL or GDAL name.
            geometry: column of the footprint, for images that do not tell their place: PostGIS's
                geometry, PostgreSQL's polygon, or WKT; the two last in EPSG:4326.
            acquired_column: column of the time of acquisition.
            root: folder that relative locations start from; None is the current one.

        The other columns become properties of the scenes.  Scenes come in the order of their
        locations.

        Raises:
            NotFound: there is no such table.
            UsageError: it has no such column.
            ServerError: this role may not read it, or as :meth:`ingest`.
        """
        rows = source_rows(
            self.connection, table, location=location, geometry=geometry, acquired=acquired_column
        )
        listed = list(table_listing(rows, table=table, root=root))
        if not listed:
            raise InputError(f"table {table} has no row", hint="fill it, or name another")
        scenes = self._scenes_of(listed, georeference, acquired, date_pattern)
        return self._ingest(scenes, scheduler, batch=batch, threads=threads, progress=progress)

    def _scenes_of(
        self,
        listed: Sequence[Listed],
        georeference: bool,
        acquired: datetime | None,
        date_pattern: str | None,
    ) -> list[Scene]:
        """The scenes of a listing; what went wrong with its entries before is forgotten."""
        scenes = listed_scenes(
            listed,
            reading=self.reading,
            bands=self.record.card.bands,
            georeference=georeference,
            acquired=acquired,
            date_pattern=date_pattern,
            sign=self.sign,
            any_driver=self.any_driver,
        )
        if self.record.id:
            Loader(self.connection, self.record).forget_errors([entry.address for entry in listed])
        return scenes

    def _ingest(
        self,
        scenes: Sequence[Scene],
        scheduler: str | None,
        *,
        batch: int,
        threads: int,
        progress: Progress,
    ) -> IngestReport:
        self._make()
        loader = Loader(self.connection, self.record)
        how = {
            "min_valid": self.reading.min_valid,
            "batch": batch,
            "threads": threads,
            "progress": progress,
        }
        if scheduler is None:
            return ingest(scenes, self.hasher, loader, **how)
        model = Model(self.record.model_sha256, self._model_file().read_bytes())
        return ingest_on_cluster(
            scenes, model, loader, scheduler=scheduler, device=self.device, **how
        )

    def hash_images(
        self, sources: Sequence[str], *, progress: Progress = SILENT
    ) -> tuple[np.ndarray, list[SceneRecord]]:
        """Hashes images without storing them: codes uint8 (N, K/8) and a record for each code.

        Raises:
            InputError: one of them cannot be read.
        """
        scenes = find_scenes(
            sources, reading=self.reading, bands=self.record.card.bands, georeference=False
        )
        codes: list[np.ndarray] = []
        records: list[SceneRecord] = []
        progress.start("hashing queries")
        for done in hash_scenes(scenes, self.hasher, progress=progress):
            if done.error is not None:
                raise done.error
            for part in done.codes:
                codes.append(part)
                records.extend([done.record] * len(part))
        return np.concatenate(codes), records

"""The door for programs: an archive together with its model, to ingest into and to search.

Every search here is one SQL function (docs/sql.md), so psql gives the same rows.

    from dcsh_pg import Archive

    archive = Archive.open("naip")
    for hit in archive.similar_to_image("pond.png", k=5):
        print(hit.distance, hit.uri, hit.footprint)
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from shapely.geometry import mapping

from dcsh_pg import codes
from dcsh_pg.catalog.qgis import check_project, write_qgis
from dcsh_pg.catalog.stac import write_stac
from dcsh_pg.cluster.pipeline import ingest_on_cluster
from dcsh_pg.cluster.worker import Model
from dcsh_pg.database import (
    change,
    chips,
    connection,
    examples,
    layers,
    migrate,
    near_duplicates,
    pgstac,
    registry,
    search,
    statistics,
)
from dcsh_pg.database.load import Loader
from dcsh_pg.database.source_table import source_rows
from dcsh_pg.errors import InputError, ModelError, NotFound, UsageError
from dcsh_pg.files import replacing
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.discover import are_plain_pictures, find_scenes
from dcsh_pg.imagery.listed import Listed, listed_scenes
from dcsh_pg.imagery.query import read_query
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Scene, SceneRecord
from dcsh_pg.imagery.stac import stac_listing
from dcsh_pg.imagery.table import table_listing
from dcsh_pg.ingest import IngestReport, hash_scenes, ingest
from dcsh_pg.progress import SILENT, Progress
from dcsh_pg.results.extras import require
from dcsh_pg.results.to_geopandas import geo_frame

if TYPE_CHECKING:
    import psycopg
    from geopandas import GeoDataFrame
    from shapely import Geometry

    from dcsh_pg.database.change import Change, Period
    from dcsh_pg.database.near_duplicates import NearDuplicate
    from dcsh_pg.database.search import Hit
    from dcsh_pg.database.statistics import (
        BitStatistics,
        CodeStatistics,
        CoverageCell,
        FrequentCode,
    )
    from dcsh_pg.imagery.gdal import Sign


@dataclass(frozen=True)
class Query:
    """What to look for.

    Attributes:
        code: its packed code, K/8 bytes; None where it has several.
        caption: what people call it.
        chip: its id, when it is a chip of the archive.
        pixels: uint8 (H, W, C), where there is a picture of it.
        footprint: GeoJSON geometry in longitude and latitude, where it has a place.
        likes, unlikes: ids, when it is several chips of the archive.
        region: shapely geometry in EPSG:4326, when it is the chips that cover one.
    """

    code: bytes | None
    caption: str
    chip: int | None = None
    pixels: np.ndarray | None = None
    footprint: dict[str, Any] | None = None
    likes: Sequence[int] = ()
    unlikes: Sequence[int] = ()
    region: Geometry | None = None


class Archive:
    """An archive in the database.

    Attributes:
        connection: the psycopg connection it uses.
        record: name, bits, reading, counts, the model's card and SHA-256.
        reading: how its scenes are cut into chips and turned into uint8.
        device: where the model runs, here or on the workers of a cluster: auto, cpu or cuda.
        is_new: whether :meth:`create` made it just now.
        sign: None, or what makes the URL of a scene one that may be read; asked at every opening.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        record: registry.ArchiveRecord,
        *,
        device: str = "auto",
    ):
        self.connection = connection
        self.record = record
        self.reading = Reading.from_json(record.reading)
        self.is_new = False
        self.sign: Sign | None = None
        self.device = device

    # -- open and create ---------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        name: str,
        *,
        dsn: str | None = None,
        pg_bin: Path | None = None,
        device: str = "auto",
    ) -> Archive:
        """Opens an archive that exists.

        Raises:
            ServerError: the server cannot be reached or lacks pgvector.
            SchemaError: the database has no dcsh-pg schema, or that of another version.
            NotFound: no archive of that name.
        """
        conn = connection.connect(dsn, pg_bin=pg_bin)
        migrate.require_current(conn)
        return cls(conn, registry.get_archive(conn, name), device=device)

    @classmethod
    def create(
        cls,
        name: str,
        model: str | Path | None = None,
        *,
        sources: Sequence[str] = (),
        chip_size: int | None = None,
        stride: int | None = None,
        edge: str | None = None,
        bands: tuple[int, ...] | None = None,
        scale: tuple[float, float] | str | None = None,
        min_valid: float | None = None,
        anchor: bool | None = None,
        dsn: str | None = None,
        pg_bin: Path | None = None,
        device: str = "auto",
    ) -> Archive:
        """Opens the archive, or makes it on first use.

        An archive has one model and one reading: what is given for one that exists must be what it
        was made with.  What is None is taken from the archive, or from the model for a new one.
        A new archive for ``sources`` that are plain pictures takes each whole, unless
        ``chip_size`` tells otherwise.  An archive all of whose scenes failed is made anew
        when something else is asked than what it was made with.

        Raises:
            ModelError: the archive holds codes of another model.
            UsageError: the archive was made with another reading, or is new and no model is given,
                or the reading does not fit the model.
        """
        conn = connection.connect(dsn, pg_bin=pg_bin)
        migrate.require_current(conn)
        hasher = Hasher(model, device=device) if model is not None else None
        asked = {
            key: value
            for key, value in {
                "chip_size": chip_size,
                "stride": stride,
                "edge": edge,
                "bands": bands,
                "scale": scale,
                "min_valid": min_valid,
                "anchor": anchor,
            }.items()
            if value is not None
        }
        with contextlib.suppress(NotFound):
            archive = cls(conn, registry.get_archive(conn, name), device=device)
            try:
                archive._check_same(hasher, asked)
                return archive
            except (ModelError, UsageError):
                all_failed = archive.record.errors and not archive.record.scenes
                if hasher is None or not all_failed:
                    raise
                registry.drop_archive(conn, name)
        if hasher is None:
            raise UsageError(
                f"archive '{name}' does not exist yet and no model is given",
                hint="name the model to make it with: --model FILE.onnx",
            )
        if chip_size is None and not (sources and are_plain_pictures(sources)):
            asked["chip_size"] = hasher.card.chip_size
        if anchor:
            asked.setdefault("edge", "drop")
        reading = Reading(**asked)
        reading.check_bands(hasher.card.bands)
        sha256 = registry.store_model(conn, hasher.card, Path(model).read_bytes())
        archive = cls(
            conn,
            registry.create_archive(conn, name, sha256, reading.to_json()),
            device=device,
        )
        archive.__dict__["hasher"] = hasher
        archive.is_new = True
        return archive

    def _check_same(self, hasher: Hasher | None, asked: dict) -> None:
        name = self.record.name
        if hasher is not None and hasher.sha256 != self.record.model_sha256:
            raise ModelError(
                f"archive '{name}' holds codes of model {self.record.card.name} "
                f"({self.record.model_sha256[:12]}), not of {hasher.card.name} "
                f"({hasher.sha256[:12]})",
                hint="codes of two models cannot be compared: leave out --model to go on with the "
                "archive's own, or ingest into a new archive",
            )
        for key, value in asked.items():
            if value != getattr(self.reading, key):
                option = "--" + key.replace("_", "-")
                made = getattr(self.reading, key)
                is_bare = made is None or made is False
                raise UsageError(
                    f"archive '{name}' was made with{'out' if is_bare else ''} {option}"
                    f"{'' if is_bare else f' {_shown(made)}'}, not {_shown(value)}",
                    hint=f"leave out {option}, or ingest into a new archive",
                )

    # -- model -------------------------------------------------------------------------------

    @cached_property
    def hasher(self) -> Hasher:
        """The very model of this archive, from the database, checked by its SHA-256."""
        return Hasher(self._model_file(), device=self.device)

    def _model_file(self) -> Path:
        """The model's ONNX file in the user's cache, fetched from the database when missing."""
        import platformdirs

        sha256 = self.record.model_sha256
        folder = Path(platformdirs.user_cache_dir("dcsh-pg")) / "models"
        file = folder / f"{sha256}.onnx"
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256:
            return file
        content = registry.load_model(self.connection, sha256)
        with replacing(file) as part:
            part.write_bytes(content)
        return file

    def read_image(
        self, path: str | Path, *, window: tuple[int, int, int, int] | None = None
    ) -> np.ndarray:
        """An image read the way of this archive, uint8 (1, H, W, C)."""
        return read_query(
            str(path), reading=self.reading, bands=self.record.card.bands, window=window
        )

    def read_chip(self, hit: Hit) -> np.ndarray:
        """The pixels of a hit, uint8 (H, W, C), read again from its scene.

        Raises:
            InputError: the scene's file is no longer there or cannot be read.
        """
        [scene] = find_scenes(
            [hit.uri],
            reading=self.reading,
            bands=self.record.card.bands,
            georeference=False,
            sign=self.sign,
        )
        with scene:
            return scene.read(np.array([hit.window])).pixels[0]

    # -- ingest ------------------------------------------------------------------------------

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
        )
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

    # -- search ------------------------------------------------------------------------------

    def similar(
        self,
        code: bytes | np.ndarray,
        *,
        k: int = 10,
        area: Geometry | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        max_distance: int | None = None,
    ) -> list[Hit]:
        """The ``k`` chips nearest to ``code``, by (distance, id): ``dcsh.similar``.

        ``area`` is a shapely geometry in EPSG:4326 that the footprint must meet; ``since`` is
        included, ``until`` is not; ``max_distance`` is in bits.

        Raises:
            ModelError: the code has another length than the archive's.
        """
        return search.similar(
            self.connection,
            self.record.name,
            self._checked(code),
            k=k,
            area=area,
            since=since,
            until=until,
            max_distance=max_distance,
        )

    def similar_to(self, chip: int, **filters) -> list[Hit]:
        """The chips nearest to chip ``chip``, itself left out: ``dcsh.similar_to``.

        Takes the filters of :meth:`similar`.
        """
        return search.similar_to(self.connection, self.record.name, chip, **filters)

    def similar_to_examples(
        self, likes: Sequence[int], unlikes: Sequence[int] = (), **options
    ) -> list[Hit]:
        """The chips most like chips ``likes`` and no nearer to ``unlikes``, all of them left out.

        ``rule`` is 'min', the distance to the nearest of them, or 'mean', that to all; the other
        options are the filters of :meth:`similar`: ``dcsh.similar_to_examples``.
        """
        return examples.similar_to_examples(
            self.connection, self.record.name, likes, unlikes, **options
        )

    def similar_region(self, region: Geometry, **options) -> list[Hit]:
        """The chips most like those that cover ``region`` (EPSG:4326), which are left out.

        Takes the options of :meth:`similar_to_examples`, and ``min_share``, how far a chip must
        overlap the region, as a share of what the chip does that overlaps it most:
        ``dcsh.similar_region``.

        Raises:
            NotFound: no chip covers the region.
        """
        return examples.similar_region(self.connection, self.record.name, region, **options)

    def similar_in_stac(self, query: Query, cql2: dict[str, Any], **filters) -> list[Hit]:
        """The chips nearest to a query, of those whose STAC item in pgstac meets a CQL2-JSON filter.

        The query is an image, a code or one chip, which is left out; the filters are those of
        :meth:`similar`: ``dcsh.similar_in_stac``.

        Raises:
            ServerError: the database has no pgstac.
            UsageError: pgstac does not take the filter, or the query is several chips.
        """
        if query.code is None:
            raise UsageError(
                f"{query.caption} cannot be searched for under a filter of STAC items",
                hint="look for an image, one chip, a place or a code",
            )
        return pgstac.similar_in_stac(
            self.connection, self.record.name, query.code, cql2, other_than=query.chip, **filters
        )

    def similar_to_place(self, lon: float, lat: float, **filters) -> list[Hit]:
        """The chips nearest to the chip at a place (degrees, EPSG:4326): ``dcsh.chip_at``."""
        return self.similar_to(self.chip_at(lon, lat), **filters)

    def similar_to_image(
        self,
        path: str | Path,
        *,
        window: tuple[int, int, int, int] | None = None,
        **filters,
    ) -> list[Hit]:
        """The chips nearest to an image of any size, hashed with the archive's own model."""
        return self.search(self.query_image(path, window=window), **filters)

    def search(self, query: Query, **filters) -> list[Hit]:
        """The chips nearest to a query of any kind; query chips are left out of the hits."""
        if query.likes:
            return self.similar_to_examples(query.likes, query.unlikes, **filters)
        if query.region is not None:
            return self.similar_region(query.region, **filters)
        if query.chip is not None:
            return self.similar_to(query.chip, **filters)
        return self.similar(query.code, **filters)

    def query_image(
        self, path: str | Path, *, window: tuple[int, int, int, int] | None = None
    ) -> Query:
        """An image file as a query; ``window`` is column, row, width, height in pixels."""
        pixels = self.read_image(path, window=window)
        return Query(bytes(self.hasher.hash(pixels)[0]), Path(path).name, pixels=pixels[0])

    def query_chip(self, chip: int) -> Query:
        """A chip of the archive as a query; without pixels where its file is gone.

        Raises:
            NotFound: no such chip.
        """
        found = search.chip(self.connection, self.record.name, chip)
        pixels = None
        with contextlib.suppress(InputError):
            pixels = self.read_chip(found)
        return Query(
            self.code_of(chip),
            f"chip {chip}",
            chip=chip,
            pixels=pixels,
            footprint=found.footprint,
        )

    def query_examples(self, likes: Sequence[int], unlikes: Sequence[int] = ()) -> Query:
        """Several chips of the archive as a query, see :meth:`similar_to_examples`.

        Its picture and place are those of the first.

        Raises:
            UsageError: no likes.
            NotFound: no such chip.
        """
        if not likes:
            raise UsageError("no chip is liked", hint="name at least one chip")
        caption = f"like {', '.join(map(str, likes))}"
        if unlikes:
            caption += f"; unlike {', '.join(map(str, unlikes))}"
        first = self.query_chip(likes[0])
        return replace(first, code=None, chip=None, caption=caption, likes=likes, unlikes=unlikes)

    def query_region(self, region: Geometry) -> Query:
        """A region in EPSG:4326 as a query, see :meth:`similar_region`."""
        return Query(None, "region", footprint=mapping(region), region=region)

    def within(self, code: bytes | np.ndarray, radius: int, **filters) -> list[Hit]:
        """All chips within ``radius`` bits of ``code``, by (distance, id): ``dcsh.within``."""
        return search.within(
            self.connection, self.record.name, self._checked(code), radius, **filters
        )

    def change(self, before: Period, after: Period, **options) -> list[Change]:
        """The places seen in both periods, the most changed first: ``dcsh.change``.

        A period is (since, until), each a time or None; ``until`` is not included.  Options are
        ``area``, ``min_overlap`` and ``k``, see :func:`dcsh_pg.database.change.change`.
        """
        return change.change(self.connection, self.record.name, before, after, **options)

    def near_duplicates(self, radius: int, **filters) -> list[NearDuplicate]:
        """Groups of chips connected by steps of at most ``radius`` bits, by (group_id, id).

        Takes the filters ``area``, ``since`` and ``until`` of :meth:`similar`:
        ``dcsh.near_duplicates``.
        """
        return near_duplicates.near_duplicates(self.connection, self.record.name, radius, **filters)

    def code_statistics(self) -> CodeStatistics:
        """How many different codes there are, and how they use their bits: ``dcsh.code_statistics``."""
        return statistics.code_statistics(self.connection, self.record.name)

    def bit_statistics(self) -> list[BitStatistics]:
        """How balanced each bit of the codes is: ``dcsh.bit_statistics``."""
        return statistics.bit_statistics(self.connection, self.record.name)

    def frequent_codes(self, most: int = 10) -> list[FrequentCode]:
        """The codes that most chips have, as black or cloudy ones do: ``dcsh.frequent_codes``."""
        return statistics.frequent_codes(self.connection, self.record.name, most)

    def coverage(self, **options) -> list[CoverageCell]:
        """Where and when there are chips, on a grid of ``cell`` degrees: ``dcsh.coverage``.

        ``every`` 'month', 'year' and so on gives a row for each such period; ``area``, ``since``
        and ``until`` are the filters of :meth:`similar`.
        """
        return statistics.coverage(self.connection, self.record.name, **options)

    def chip_at(self, lon: float, lat: float) -> int:
        """The id of the chip at a place: ``dcsh.chip_at``.

        Raises:
            NotFound: no chip covers the place.
        """
        return search.chip_at(self.connection, self.record.name, lon, lat)

    def code_of(self, chip: int) -> bytes:
        """The packed code of a chip."""
        return search.code_of(self.connection, self.record.name, chip)

    def labelled_codes(self, label: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Ids (N,), codes uint8 (N, K/8) and the scenes' property ``label`` for every chip with one."""
        return search.labelled_codes(self.connection, self.record.name, label)

    # -- for notebooks -----------------------------------------------------------------------

    def to_geopandas(
        self,
        *,
        area: Geometry | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> GeoDataFrame:
        """The chips as a GeoDataFrame in EPSG:4326, by id, which is the index.

        Columns: ``scene_id``, ``uri`` of the scene, ``acquired`` (UTC), the window in pixels
        (``col_off, row_off, width, height``), ``valid_fraction``, ``code`` in hexadecimal
        (``bytes.fromhex`` makes it one to search for) and ``geometry``, None where a chip has no
        place.  ``area``, ``since`` and ``until`` are those of :meth:`similar`.

        Raises:
            OutputError: the extra ``geo`` is not installed.
            UsageError: the area cannot be searched, or the limit is negative.
        """
        require("geo", "make a GeoDataFrame")
        columns, footprints = chips.chips(
            self.connection, self.record.name, area=area, since=since, until=until, limit=limit
        )
        return geo_frame(columns, chips.COLUMNS, footprints).set_index("id")

    def tile(self, z: int, x: int, y: int, **query) -> bytes:
        """A vector tile of the chips, or of the hits of a query, for maps: ``dcsh.tiles``.

        Takes the query and the filters of :func:`dcsh_pg.database.layers.tile`.
        """
        return layers.tile(self.connection, self.record.name, z, x, y, **query)

    # -- for catalogues ----------------------------------------------------------------------

    def to_stac(
        self,
        folder: Path | str,
        *,
        codes: bool = False,
        model_href: str | None = None,
        license: str = "other",
        source_data: Sequence[str] = (),
    ) -> Path:
        """Writes the archive as a STAC collection and its model as an item with the MLM extension.

        Takes what :func:`dcsh_pg.catalog.stac.write_stac` takes; returns the path of the collection.

        Raises:
            OutputError: a file cannot be written, or ``codes`` and the extra ``geo`` is missing.
        """
        return write_stac(
            self.connection,
            self.record.name,
            folder,
            codes=codes,
            model_href=model_href,
            license=license,
            source_data=source_data,
        )

    def to_qgis(
        self,
        path: Path | str,
        query: Query | None = None,
        *,
        k: int = 50,
        area: Geometry | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        max_distance: int | None = None,
        password: bool = False,
    ) -> list[Path]:
        """Writes a QGIS project: the chips, and the hits of a search coloured by distance.

        Without a query it looks for what is like the archive's first chip.  The filters are those
        of :meth:`similar`; ``path`` and ``password`` those of
        :func:`dcsh_pg.catalog.qgis.write_qgis`.  Returns the files written.

        Raises:
            NotFound: the archive is empty.
            OutputError: a file cannot be written.
            UsageError: ``path`` does not end in .qgz or .qgs, or the query is neither one chip nor
                one code.
        """
        check_project(path)
        if query is None:
            ids = chips.chips(self.connection, self.record.name, limit=1)[0]["id"]
            if not ids:
                raise NotFound(
                    f"archive '{self.record.name}' has no chips", hint="ingest scenes first"
                )
            query = self.query_chip(ids[0])
        if query.code is None:
            raise UsageError(
                "a project shows the hits of one chip or one code",
                hint="write the hits of several to a file: dcsh-pg search ... -o hits.gpkg",
            )
        filters = {
            "k": k,
            "area": area,
            "since": since,
            "until": until,
            "max_distance": max_distance,
        }
        hits = self.search(query, **filters)
        told = {
            "chip": query.chip,
            "code": codes.to_hex(query.code) if query.chip is None else None,
            "area": None if area is None else area.wkt,
        }
        arguments = {name: value for name, value in (filters | told).items() if value is not None}
        return write_qgis(
            self.connection,
            self.record.name,
            path,
            hits,
            caption=query.caption,
            search=arguments,
            password=password,
        )

    def _checked(self, code: bytes | np.ndarray) -> bytes:
        code = bytes(code)
        if 8 * len(code) != self.record.bits:
            raise ModelError(
                f"the code has {8 * len(code)} bits, archive '{self.record.name}' has "
                f"{self.record.bits}",
                hint="a code can only be searched among codes of the model that made it",
            )
        return code


def _shown(value) -> str:
    if value is True:
        return "with it"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return str(value)

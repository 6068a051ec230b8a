"""An archive in the database: scenes in, hits and layers out."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapely.geometry import mapping

from dcsh_pg import codes
from dcsh_pg.archive import ingestion
from dcsh_pg.archive.display import displayed
from dcsh_pg.archive.filters import SearchKeywords, filter_of
from dcsh_pg.archive.found import Hits
from dcsh_pg.archive.management import ManagedArchive
from dcsh_pg.catalog import qgis, stac
from dcsh_pg.database.archives import registry
from dcsh_pg.database.search import chips, tiles
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import hits
from dcsh_pg.database.search.nearness import nothing_near
from dcsh_pg.database.search.period import Time
from dcsh_pg.database.search.query import (
    ChipQuery,
    CodeQuery,
    ExamplesQuery,
    Query,
    RegionQuery,
    Rule,
)
from dcsh_pg.errors import InputError, ModelError, NotFound, UsageError
from dcsh_pg.extras import require
from dcsh_pg.imagery.area import AreaLike
from dcsh_pg.imagery.query import read_query
from dcsh_pg.results.to_geopandas import geo_frame

if TYPE_CHECKING:
    import numpy as np
    from geopandas import GeoDataFrame
    from shapely.geometry.base import BaseGeometry
    from typing_extensions import Unpack


class Archive(ManagedArchive):
    """An archive in the database: :meth:`open` it, or :meth:`create` it, then ingest and search.

    Its statistics are functions of ``dcsh_pg.database.search`` that take ``connection`` and ``name``.

    Attributes:
        connection: the psycopg connection it uses.
        name: its name.
        record: name, bits, reading, counts, the model's card and SHA-256.
        reading: how its scenes are cut into chips and their pixels read.
        device: where the model runs, here or on the workers of a cluster: auto, cpu or cuda.
        is_new: whether :meth:`create` created it.
        options: how scenes are opened, dated and georeferenced, in ingestion and when the chips of
            hits are read.
    """

    ingest = ingestion.ingest
    ingest_stac = ingestion.ingest_stac
    ingest_table = ingestion.ingest_table
    ingest_embeddings = ingestion.ingest_embeddings
    ingest_listed = ingestion.ingest_listed
    hash_images = ingestion.hash_images

    # -- search ------------------------------------------------------------------------------

    def search(
        self,
        query: Query | None = None,
        *,
        text: str | None = None,
        k: int | None = 10,
        area: AreaLike | None = None,
        since: Time | None = None,
        until: Time | None = None,
        max_distance: int | None = None,
        scenes: Collection[int] | None = None,
        where: Mapping[str, Any] | str | None = None,
        exact: bool = True,
        refine: bool = False,
        filter: Filter = Filter(),
    ) -> Hits:
        """The ``k`` chips most similar to a query, by (distance, id); chips it names are left out.

        Args:
            text: what to find, in place of a query: ``archive.search(text="tennis courts by a river")``.
            k: how many; None, with a code and a ``max_distance``, finds all.
            area: footprints intersect it: 'west,south,east,north', WKT, GeoJSON (text, mapping or
                file), a shapely geometry or anything with ``__geo_interface__``, in degrees.
            since: acquired then or later: a time, a day, or text like '2021', '2021-05', '2021-05-03'.
            until: acquired before then, in the same forms.
            max_distance: greatest distance in bits.
            scenes: ids of scenes.
            where: condition on the properties of the scene, CQL2 as text or JSON.
            exact: False permits an approximate index, which may miss hits.
            refine: order chips of equal distance as :meth:`refined` says.
            filter: conditions for those not given here.

        Raises:
            InputError: ``refine`` and the picture of the chip cannot be read.
            ModelError: the code has another length than the archive's; or as :meth:`query_text`.
            NotFound: no such chip, or no chip covers the region.
            UsageError: a value cannot be read, or as :func:`dcsh_pg.database.search.hits.hits`.
        """
        if query is None:
            query = self.query_text(text or "")
        elif text is not None:
            raise UsageError("a query and a text cannot be combined", hint="give one of them")
        if isinstance(query, CodeQuery) and 8 * len(query.code) != self.record.bits:
            raise ModelError(
                f"the code has {8 * len(query.code)} bits, archive '{self.name}' has "
                f"{self.record.bits}",
                hint="codes can be compared only with codes of the same model",
            )
        filter = filter_of(
            filter,
            area=area,
            since=since,
            until=until,
            max_distance=max_distance,
            scenes=scenes,
            where=where,
        )
        if not exact:
            query = replace(query, exact=False)
        if refine:
            query = self.refined(query)
        found = hits(self.connection, self.name, query, filter, k)
        note = nothing_near(self.connection, self.record, query, found)
        return Hits(found, self, query, filter.area, note)

    def similar(self, code: bytes | str | np.ndarray, **keywords: Unpack[SearchKeywords]) -> Hits:
        """The chips most similar to a code: packed bytes, hexadecimal or bits as text.

        The keywords are those of :meth:`search`.
        """
        packed = codes.from_text(code) if isinstance(code, str) else code
        return self.search(CodeQuery(bytes(packed), caption="code"), **keywords)

    def similar_to(self, chip: int, **keywords: Unpack[SearchKeywords]) -> Hits:
        """The ``k`` chips most similar to a chip, which is left out.

        The keywords are those of :meth:`search`.
        """
        return self.search(ChipQuery(chip, caption=f"chip {chip}"), **keywords)

    def similar_to_image(
        self,
        path: str | Path,
        *,
        window: tuple[int, int, int, int] | None = None,
        **keywords: Unpack[SearchKeywords],
    ) -> Hits:
        """The ``k`` chips most similar to an image of any size, or to a window of it.

        ``window`` is column, row, width, height in pixels.  The other keywords are those of
        :meth:`search`.
        """
        return self.search(self.query_image(path, window=window), **keywords)

    def similar_to_vector(
        self, vector: np.ndarray | Sequence[float], **keywords: Unpack[SearchKeywords]
    ) -> Hits:
        """The ``k`` chips most similar to an embedding, numbers (D,), hashed with the archive's model.

        The keywords are those of :meth:`search`.
        """
        return self.search(self.query_vector(vector), **keywords)

    def similar_to_text(self, text: str, **keywords: Unpack[SearchKeywords]) -> Hits:
        """The ``k`` chips most similar to what a text says, by a model with a text tower.

        The keywords are those of :meth:`search`.
        """
        return self.search(self.query_text(text), **keywords)

    def similar_at(self, lon: float, lat: float, **keywords: Unpack[SearchKeywords]) -> Hits:
        """The ``k`` chips most similar to the one at a place in degrees, which is left out.

        The keywords are those of :meth:`search`.

        Raises:
            NotFound: no chip covers the place.
        """
        return self.search(self.query_place(lon, lat), **keywords)

    # -- queries with their pictures, for outputs ----------------------------------------------

    def query_image(
        self,
        path: str | Path,
        *,
        window: tuple[int, int, int, int] | None = None,
        is_trusted: bool = True,
    ) -> CodeQuery:
        """An image, hashed with the archive's own model.

        ``window`` is column, row, width, height in pixels.  A file that others sent is not trusted:
        drivers that read other files do not open it.

        Raises:
            InputError: the image cannot be read.
            ModelError: the archive's model takes embeddings.
            NotFound: the archive was dropped or replaced since it was opened.
        """
        ingestion.require_images(self)
        registry.check_unchanged(self.connection, self.record)
        image = read_query(
            str(path),
            reading=self.reading,
            bands=self.record.card.bands,
            window=window,
            is_trusted=is_trusted,
        )
        [code], [z] = self.hasher.hash_real(image.pixels)
        return CodeQuery(
            bytes(code),
            z=z.tolist(),
            caption=Path(path).name,
            pixels=displayed(image.pixels[0], self.record.card),
            resolution=image.resolution,
        )

    def query_vector(self, vector: np.ndarray | Sequence[float]) -> CodeQuery:
        """An embedding, hashed with the archive's own model.

        Args:
            vector: numbers (D,) or (1, D), as the model takes them: dequantised, and pooled.

        Raises:
            ModelError: the archive's model takes images, or vectors of another dimension.
            NotFound: the archive was dropped or replaced since it was opened.
        """
        registry.check_unchanged(self.connection, self.record)
        [code], [z] = ingestion.hash_vectors(self, vector)
        return CodeQuery(bytes(code), z=z.tolist(), caption="vector")

    def query_text(self, text: str) -> CodeQuery:
        """A text, hashed with the text tower of the archive's model.

        Raises:
            ModelError: the model has no text tower.
            NotFound: the tower is not stored, or the archive was dropped or replaced since it was opened.
            UsageError: the text is empty or too long, or the extra ``text`` is not installed.
        """
        registry.check_unchanged(self.connection, self.record)
        [code], [z] = self.text_hasher.hash_real([text])
        return CodeQuery(bytes(code), z=z.tolist(), caption=text, of_text=True)

    def query_chip(self, chip: int) -> ChipQuery:
        """A chip of the archive; without pixels where its file is gone.

        Raises:
            NotFound: no such chip.
        """
        found = chips.chip(self.connection, self.name, chip)
        pixels = None
        with contextlib.suppress(InputError):
            pixels = self.read_chip(found)
        return ChipQuery(chip, caption=f"chip {chip}", pixels=pixels, footprint=found.footprint)

    def query_place(self, lon: float, lat: float) -> ChipQuery:
        """The chip at a place, degrees.

        Raises:
            NotFound: no chip covers the place.
        """
        return self.query_chip(chips.chip_at(self.connection, self.name, lon, lat))

    def query_examples(
        self, likes: Sequence[int], unlikes: Sequence[int] = (), *, rule: Rule = "min"
    ) -> ExamplesQuery:
        """Several chips of the archive, with the picture and place of the first.

        Raises:
            UsageError: no likes.
            NotFound: no such chip.
        """
        caption = f"chips {', '.join(map(str, likes))}"
        if unlikes:
            caption += f", not {', '.join(map(str, unlikes))}"
        query = ExamplesQuery(likes, unlikes, rule, caption=caption)
        first = self.query_chip(likes[0])
        return replace(query, pixels=first.pixels, footprint=first.footprint)

    def query_region(self, region: BaseGeometry, *, rule: Rule = "min") -> RegionQuery:
        """The chips that cover a region in EPSG:4326."""
        return RegionQuery(region, rule, caption="region", footprint=mapping(region))

    def refined(self, query: Query) -> Query:
        """The query, with chips of equal distance in a finer order: by ``tanh(z) . b``, largest first, then by id.

        z are the model's real values of the query, b the bits of a chip as -1 and 1.  An archive does not store z,
        so a chip is read from its scene and hashed again.

        Raises:
            InputError: the scene of the chip cannot be read, or has embeddings.
            UsageError: the query is a code, several chips or a region, which have no z; or the picture of
                the chip no longer gives its code.
        """
        if isinstance(query, ExamplesQuery | RegionQuery) or (
            isinstance(query, CodeQuery) and query.z is None
        ):
            raise UsageError(
                f"{query.caption}: only an image, a vector or one chip has the real values that refine ties",
                hint="leave out --refine, or refine=True in Python",
            )
        if isinstance(query, CodeQuery):
            return replace(query, refine=True)
        pixels = self.read_pixels(chips.chip(self.connection, self.name, query.chip))
        [code], [z] = self.hasher.hash_real(pixels[None])
        if bytes(code) != chips.code_of(self.connection, self.name, query.chip):
            raise UsageError(
                f"the picture of chip {query.chip} no longer gives its code, so ties cannot be refined",
                hint="its scene has changed, or another device hashed it: leave out --refine",
            )
        return replace(query, z=z.tolist(), refine=True)

    def relative_scale(self, query: Query) -> float | None:
        """Width of the ground that a query's picture shows, in widths of a chip of the archive.

        A model hashes every picture as a whole, so one of another scale than the chips resembles
        none of them.  Where the resolution of the picture or of the model is unknown, sizes in
        pixels are compared; None where chips have no fixed size.
        """
        if query.pixels is None:
            return None
        card = self.record.card
        side = math.sqrt(query.pixels.shape[0] * query.pixels.shape[1])
        resolution = self.reading.resolution or card.resolution
        if query.resolution and resolution:
            chip_side = (self.reading.chip_size or card.chip_size) * resolution
            return side * query.resolution / chip_side
        return side / self.reading.chip_size if self.reading.chip_size else None

    # -- for other programs --------------------------------------------------------------------

    def to_geopandas(self, *, filter: Filter = Filter(), limit: int | None = None) -> GeoDataFrame:
        """The chips as a GeoDataFrame in EPSG:4326, by id, which is the index.

        Columns: ``scene_id``, ``uri`` of the scene, ``acquired`` (UTC), the window in pixels
        (``col_off, row_off, width, height``), ``valid_fraction``, ``code`` in hexadecimal
        (``bytes.fromhex`` makes it one to search for) and ``geometry``, None where a chip has no
        footprint.

        Raises:
            OutputError: the extra ``geo`` is not installed.
            UsageError: the filter cannot be applied, or the limit is negative.
        """
        require("geo", "make a GeoDataFrame")
        columns, footprints = chips.chips(self.connection, self.name, filter, limit=limit)
        return geo_frame(columns, chips.COLUMNS, footprints).set_index("id")

    def tile(
        self,
        z: int,
        x: int,
        y: int,
        query: CodeQuery | ChipQuery | None = None,
        *,
        k: int | None = None,
        filter: Filter = Filter(),
    ) -> bytes:
        """A vector tile of the chips or of a query's hits: :func:`dcsh_pg.database.search.tiles.tile`."""
        return tiles.tile(self.connection, self.name, z, x, y, query, k=k, filter=filter)

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

        The arguments are those of :func:`dcsh_pg.catalog.stac.write_stac`.  Returns the path of the
        collection.

        Raises:
            OutputError: a file cannot be written, or ``codes`` and the extra ``geo`` is missing.
        """
        return stac.write_stac(
            self.connection,
            self.name,
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
        filter: Filter = Filter(),
        password: bool = False,
        scenes: int = 8,
        basemap: str | None = None,
    ) -> list[Path]:
        """Writes a QGIS project: the chips, and the hits of a search coloured by distance.

        Without a query it searches for chips similar to the first.  ``path`` ends in .qgz or .qgs;
        ``password`` writes that of the connection into the project.  ``scenes`` is how many scenes of
        the hits lie below them, ``basemap`` a URL of tiles with {z}, {x} and {y}.  Returns the files
        written.

        Raises:
            NotFound: the archive is empty or has no footprints.
            OutputError: a file cannot be written.
            UsageError: ``path`` has another ending, or ``basemap`` is not a template of tiles.
        """
        qgis.check_project(path)
        if query is None:
            ids = chips.chips(self.connection, self.name, limit=1)[0]["id"]
            if not ids:
                raise NotFound(f"archive '{self.name}' has no chips", hint="ingest scenes first")
            query = self.query_chip(ids[0])
        return qgis.write_qgis(
            self.connection, self.name, path, query, filter,
            k=k, password=password, scenes=scenes, basemap=basemap,
        )  # fmt: skip

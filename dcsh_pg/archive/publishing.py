"""An archive for other programs: GeoDataFrames, tiles, STAC, QGIS."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dcsh_pg import codes
from dcsh_pg.archive.query import Query
from dcsh_pg.archive.searching import Searching
from dcsh_pg.catalog.qgis import check_project, write_qgis
from dcsh_pg.catalog.stac import write_stac
from dcsh_pg.database.archives import chips, layers
from dcsh_pg.errors import NotFound, UsageError
from dcsh_pg.results.extras import require
from dcsh_pg.results.to_geopandas import geo_frame

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from shapely import Geometry


class Publishing(Searching):
    """Gives the archive, or a search in it, to other programs."""

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

        Takes the query and the filters of :func:`dcsh_pg.database.archives.layers.tile`.
        """
        return layers.tile(self.connection, self.record.name, z, x, y, **query)

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

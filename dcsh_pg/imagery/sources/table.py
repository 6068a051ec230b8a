"""A table that lists images with their footprints, such as a tile index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely.geometry import Polygon, box
from shapely.geometry.polygon import orient

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.address import shortened
from dcsh_pg.imagery.georeference.affine import Frame
from dcsh_pg.imagery.georeference.footprint import projected
from dcsh_pg.imagery.metadata import dates
from dcsh_pg.imagery.metadata.image import ImageMetadata
from dcsh_pg.imagery.sources.listed import Listed, absolute


class Row(Protocol):
    """A row; :class:`dcsh_pg.database.archives.source_table.SourceRow` is one."""

    @property
    def location(self) -> str | None: ...
    @property
    def footprint(self) -> shapely.Geometry | None: ...
    @property
    def crs(self) -> str | None: ...
    @property
    def acquired(self) -> str | None: ...
    @property
    def properties(self) -> dict[str, Any]: ...


def table_listing(rows: Iterable[Row], *, table: str, root: Path | None = None) -> Iterator[Listed]:
    """One entry for each row, for :func:`dcsh_pg.imagery.sources.listed.listed_scenes`.

    Args:
        rows: in the order of the scenes.
        table: its name, for messages.
        root: folder that relative locations start from; None is the current one.
    """
    base = str((root or Path()).absolute() / "table")
    for number, row in enumerate(rows, start=1):
        where = shortened(f"{table}#{row.location or number}")
        try:
            if not row.location:
                raise InputError(f"{where}: the row has no location")
            uri = absolute(row.location, base)
            yield Listed(where, uri, row.location, _record(row, where))
        except InputError as error:
            yield Listed(where, error=error)
        except Exception as error:
            yield Listed(where, error=InputError(f"{where} cannot be used: {error}"))


def _record(row: Row, where: str) -> ImageMetadata:
    acquired = dates.parse_date(row.acquired) if row.acquired else None
    if row.acquired and acquired is None:
        raise InputError(
            f"{where}: invalid date: {row.acquired!r}",
            hint="write 2021-07-14 or 2021-07-14T10:30:00Z",
        )
    frame, footprint = _georeference(row.footprint, row.crs)
    return ImageMetadata(
        where, footprint=footprint, frame=frame, acquired=acquired, properties=row.properties
    )


def _georeference(
    geometry: shapely.Geometry | None, crs: str | None
) -> tuple[Frame | None, Polygon | None]:
    """The frame of an image, if its footprint is a box, and its footprint in EPSG:4326."""
    parts = shapely.get_parts(geometry).tolist() if geometry is not None else []
    if len(parts) != 1 or not isinstance(parts[0], Polygon) or not parts[0].is_valid:
        return None, None
    polygon = orient(Polygon(shapely.force_2d(parts[0].exterior)))
    crs = crs or "EPSG:4326"
    try:
        wkt, to_lonlat = _system(crs)
        outline = projected(
            polygon, lambda xy: np.stack(to_lonlat.transform(*np.moveaxis(xy, -1, 0)), axis=-1)
        )
    except (CRSError, ProjError):
        return None, None
    if outline.is_empty:
        return None, None
    frame = box(*polygon.bounds)
    if polygon.normalize().equals_exact(frame.normalize(), 1e-9 * frame.length):
        return Frame.of_bounds(wkt, polygon.bounds), outline
    return None, outline


@lru_cache(maxsize=64)
def _system(crs: str) -> tuple[str, Transformer]:
    """A CRS as WKT, and its transformer to (lon, lat)."""
    system = CRS.from_user_input(crs)
    return system.to_wkt(), Transformer.from_crs(system, "EPSG:4326", always_xy=True)

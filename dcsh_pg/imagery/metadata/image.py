"""What is told of one image besides its own file: by a sidecar, a STAC item or a table."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from shapely.geometry import Polygon, box

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.georeference.affine import Frame, Place
from dcsh_pg.imagery.georeference.crs import GEOD


@dataclass(frozen=True)
class ImageRecord:
    """What is told of one image.

    Its place counts where the image does not tell its own: ``frame``, else ``footprint``, else
    ``centre``.

    Attributes:
        where: who tells, for messages: sidecar file and row, STAC item, table and row.
        frame: of the image as a whole, or None.
        footprint: in EPSG:4326, or None.
        centre: lon, lat of the middle and metres a pixel, or None.
        acquired: UTC, or None.
        collection, item_id: of the STAC item, or None.
        properties: all else.
    """

    where: str
    footprint: Polygon | None = None
    centre: tuple[float, float, float] | None = None
    acquired: datetime | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    frame: Frame | None = None
    collection: str | None = None
    item_id: str | None = None

    @property
    def tells_place(self) -> bool:
        return not (self.frame is None and self.footprint is None and self.centre is None)

    def digest(self) -> str:
        """The record as text; equal records give equal text."""
        told = {
            "footprint": self.footprint and self.footprint.wkt,
            "centre": self.centre,
            "acquired": self.acquired and self.acquired.isoformat(),
            "properties": self.properties,
        }
        if self.frame:
            told["frame"] = [self.frame.wkt, *self.frame.transform]
        return json.dumps(told, sort_keys=True, default=str)


class OutlinePlace:
    """The place of an image whose footprint is known only as a whole.

    It has no CRS and no resolution of its own and cannot be divided.
    """

    proj_code = None

    def __init__(self, footprint: Polygon, width: int, height: int, *, where: str):
        self._footprint, self._whole, self._where = footprint, (0, 0, width, height), where

    def resolution(self, width: int, height: int) -> float:
        """Metres a pixel, from the area of the footprint."""
        area, _ = GEOD.geometry_area_perimeter(self._footprint)
        return math.sqrt(abs(area) / (width * height))

    def footprints(self, windows: np.ndarray) -> list[Polygon]:
        if any(tuple(window) != self._whole for window in np.asarray(windows).tolist()):
            raise InputError(
                f"{self._where}: a footprint that is no box cannot be divided into chips",
                hint="tell its box (sidecar: bbox, STAC: proj:bbox and proj:code), or take each image whole "
                "(an archive without --chip-size)",
            )
        return [self._footprint] * len(windows)


def place_of_record(
    record: ImageRecord, width: int, height: int, *, uri: str
) -> Place | OutlinePlace:
    """The place that a record tells for an image of ``width`` x ``height`` pixels, north up."""
    if record.frame is not None:
        return record.frame.place(width, height, uri=uri)
    footprint = record.footprint
    if footprint is None:
        lon, lat, resolution = record.centre
        east, _, _ = GEOD.fwd(lon, lat, 90, width * resolution / 2)
        # Towards the equator, where there is no pole on the way.
        _, inner, _ = GEOD.fwd(lon, lat, 180 if lat > 0 else 0, height * resolution / 2)
        dx, dy = (east - lon) % 360, abs(inner - lat)
        footprint = box(lon - dx, lat - dy, lon + dx, lat + dy)
    if footprint.normalize().equals_exact(box(*footprint.bounds).normalize(), 1e-9):
        return Place.of_bounds(footprint.bounds, width, height, uri=uri)
    return OutlinePlace(footprint, width, height, where=record.where)

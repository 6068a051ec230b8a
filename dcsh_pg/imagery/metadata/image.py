"""What a sidecar, a STAC item or a table says of one image."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shapely.geometry import Polygon, box

from dcsh_pg.imagery.georeference.affine import AffineGeoreference, Frame
from dcsh_pg.imagery.georeference.crs import GEOD
from dcsh_pg.imagery.georeference.whole import WholeFootprint


@dataclass(frozen=True)
class ImageMetadata:
    """What a sidecar, a STAC item or a table says of one image.

    It georeferences an image that has no georeference of its own: by its ``frame``, else its
    ``footprint``, else its ``centre``.

    Attributes:
        where: file and row, STAC item, or table and row, for messages.
        footprint: in EPSG:4326, or None.
        centre: longitude and latitude of the centre and metres per pixel, or None.
        acquired: UTC, or None.
        properties: everything else.
        frame: of the whole image, or None.
        collection, item_id: of the STAC item, or None.
    """

    where: str
    footprint: Polygon | None = None
    centre: tuple[float, float, float] | None = None
    acquired: datetime | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    frame: Frame | None = None
    collection: str | None = None
    item_id: str | None = None

    def digest(self) -> str:
        """The metadata as text; equal metadata give equal text."""
        fields: dict[str, Any] = {
            "footprint": self.footprint and self.footprint.wkt,
            "centre": self.centre,
            "acquired": self.acquired and self.acquired.isoformat(),
            "properties": self.properties,
        }
        if self.frame:
            fields["frame"] = [self.frame.wkt, *self.frame.transform]
        return json.dumps(fields, sort_keys=True, default=str)

    def georeference(
        self, width: int, height: int, *, uri: str
    ) -> AffineGeoreference | WholeFootprint | None:
        """The georeference of an image of ``width`` x ``height`` pixels, north up, or None."""
        if self.frame is not None:
            return self.frame.georeference(width, height, uri=uri)
        footprint = self.footprint
        if footprint is None and self.centre is not None:
            footprint = _footprint_around(*self.centre, width, height)
        if footprint is None:
            return None
        if footprint.normalize().equals_exact(box(*footprint.bounds).normalize(), 1e-9):
            return AffineGeoreference.of_bounds(footprint.bounds, width, height, uri=uri)
        return WholeFootprint(footprint, width, height, where=self.where)


def _footprint_around(
    lon: float, lat: float, resolution: float, width: int, height: int
) -> Polygon:
    """The box of an image with its centre at ``lon, lat`` and ``resolution`` metres per pixel."""
    east, _, _ = GEOD.fwd(lon, lat, 90, width * resolution / 2)
    # Towards the equator, where there is no pole on the way.
    _, inner, _ = GEOD.fwd(lon, lat, 180 if lat > 0 else 0, height * resolution / 2)
    dx, dy = (east - lon) % 360, abs(inner - lat)
    return box(lon - dx, lat - dy, lon + dx, lat + dy)

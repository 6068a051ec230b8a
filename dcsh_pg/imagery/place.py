"""Where on Earth the windows of an image lie."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio import Affine
from rasterio.transform import from_bounds
from shapely.geometry import Polygon, box

from dcsh_pg.errors import InputError

MAX_DEVIATION = 0.5
"""In pixels: how far the straight edge of a footprint may be from the true edge of its window."""

MAX_SEGMENTS = 32

_GEOD = Geod(ellps="WGS84")
_local = threading.local()


def _to_lonlat(wkt: str) -> Transformer:
    """Transformer to EPSG:4326 in (lon, lat) order; one a thread, because PROJ's are not shared."""
    known: dict[str, Transformer] = _local.__dict__.setdefault("transformers", {})
    if wkt not in known:
        known[wkt] = Transformer.from_crs(CRS.from_wkt(wkt), "EPSG:4326", always_xy=True)
    return known[wkt]


def project(transform: Affine, pixels: np.ndarray) -> np.ndarray:
    """Pixel positions (..., 2) column, row -> float64 (..., 2) x, y in the CRS."""
    a, b, c, d, e, f = transform[:6]
    column, row = pixels[..., 0], pixels[..., 1]
    return np.stack([a * column + b * row + c, d * column + e * row + f], axis=-1)


class Place:
    """A coordinate reference system and an affine transform from pixels to it.

    Args:
        wkt: the CRS.
        transform: pixel (column, row) to CRS (x, y); may rotate and shear.
        uri: of the image, for messages.
    """

    def __init__(self, wkt: str, transform: Affine, *, uri: str):
        self.wkt, self.transform, self.uri = wkt, transform, uri

    @classmethod
    def of_bounds(
        cls, bounds: tuple[float, float, float, float], width: int, height: int, *, uri: str
    ) -> Place:
        """An image that fills the EPSG:4326 box ``bounds`` (minx, miny, maxx, maxy), north up."""
        return cls(CRS.from_epsg(4326).to_wkt(), from_bounds(*bounds, width, height), uri=uri)

    @cached_property
    def proj_code(self) -> str | None:
        """'EPSG:26913', or None for a CRS that is in no register."""
        authority = CRS.from_wkt(self.wkt).to_authority()
        return ":".join(authority) if authority else None

    @property
    def origin(self) -> tuple[float, float]:
        """Column and row of the origin of the CRS, x = 0 and y = 0."""
        inverse = ~self.transform
        return inverse.c, inverse.f

    def lonlat(self, pixels: np.ndarray) -> np.ndarray:
        """Pixel positions (..., 2) column, row -> float64 (..., 2) lon, lat in degrees.

        Raises:
            InputError: PROJ cannot bring the CRS, or a position in it, to EPSG:4326.
        """
        x, y = np.moveaxis(project(self.transform, pixels), -1, 0)
        try:
            lon, lat = _to_lonlat(self.wkt).transform(x, y)
        except (ProjError, CRSError) as error:
            raise InputError(
                f"{self.uri}: its coordinate system has no way to lon/lat: {error}"
            ) from None
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise InputError(
                f"{self.uri}: its transform leads outside of its coordinate system",
                hint="look at its corners with gdalinfo and mend it with gdal_edit.py",
            )
        return np.stack([lon, lat], axis=-1)

    def resolution(self, width: int, height: int) -> float:
        """Ground size in metres of a pixel at the centre of an image of that size.

        The geometric mean of the geodesic lengths along a row and along a column.
        """
        reach = np.minimum(np.array([width, height]) / 2, 32)
        centre = np.array([width, height]) / 2
        arms = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]]) * reach
        (lon0, lat0), (lon1, lat1), (lon2, lat2), (lon3, lat3) = self.lonlat(centre + arms)
        _, _, across = _GEOD.inv(lon0, lat0, lon1, lat1)
        _, _, down = _GEOD.inv(lon2, lat2, lon3, lat3)
        return float(np.sqrt(across / (2 * reach[0]) * down / (2 * reach[1])))

    def footprints(self, windows: np.ndarray) -> list[Polygon]:
        """The polygons of ``windows``, int (N, 4), in EPSG:4326, (lon, lat), counter-clockwise.

        A window becomes its four corners, joined by straight lines in degrees.  Where such a line
        would be more than ``MAX_DEVIATION`` pixels from the true edge, the edges are divided until
        it is not.  A footprint that crosses the antimeridian is cut there and the larger part
        kept; one that holds a pole becomes the cap above its lowest latitude.  So every footprint
        is one valid polygon within -180..180, -90..90.

        Raises:
            InputError: as :meth:`lonlat`.
        """
        corners = _corners(np.asarray(windows, dtype=np.float64))
        segments = self._segments(corners)
        footprints = np.empty(len(windows), dtype=object)
        for count in np.unique(segments):
            chosen = segments == count
            rings = self.lonlat(_divide(corners[chosen], count))
            footprints[chosen] = _polygons(rings)
        return list(footprints)

    def _segments(self, corners: np.ndarray) -> np.ndarray:
        """Into how many lines each edge of the windows is divided -> int (N,)."""
        ring = _divide(corners, 2)
        lonlat = _unwrap(self.lonlat(ring))
        true, straight = lonlat[:, 1::2], (lonlat[:, 0:-1:2] + lonlat[:, 2::2]) / 2
        pixel = np.abs(lonlat[:, 4] - lonlat[:, 0]).sum(-1) / np.abs(ring[:, 4] - ring[:, 0]).sum(
            -1
        )
        deviation = np.abs(true - straight).sum(-1).max(-1) / np.maximum(pixel, 1e-15)
        # A chord's distance from its arc falls with the square of the number of chords.
        return np.clip(np.ceil(np.sqrt(deviation / MAX_DEVIATION)), 1, MAX_SEGMENTS).astype(int)


@dataclass(frozen=True)
class Frame:
    """The place of an image as a whole, however many pixels it has.

    Attributes:
        wkt: the CRS.
        transform: from shares of width and height, (0, 0) the upper left corner and (1, 1) the lower
            right one, to CRS (x, y); may rotate and shear.
    """

    wkt: str
    transform: Affine

    @classmethod
    def of_bounds(cls, wkt: str, bounds: tuple[float, float, float, float]) -> Frame:
        """The box ``bounds`` (minx, miny, maxx, maxy) in the CRS, north up."""
        return cls(wkt, from_bounds(*bounds, 1, 1))

    @classmethod
    def of_raster(cls, wkt: str, transform: Affine, width: int, height: int) -> Frame:
        """That of a raster: pixel (column, row) to CRS (x, y), and its size in pixels."""
        return cls(wkt, transform * Affine.scale(width, height))

    def place(self, width: int, height: int, *, uri: str) -> Place:
        """The place of an image of ``width`` x ``height`` pixels that fills the frame."""
        return Place(self.wkt, self.transform * Affine.scale(1 / width, 1 / height), uri=uri)


def _corners(windows: np.ndarray) -> np.ndarray:
    """Windows (N, 4) -> closed rings (N, 5, 2) of pixel positions; counter-clockwise, north up."""
    left, top, width, height = windows.T
    right, bottom = left + width, top + height
    columns = np.stack([left, left, right, right, left], axis=-1)
    rows = np.stack([top, bottom, bottom, top, top], axis=-1)
    return np.stack([columns, rows], axis=-1)


def _divide(rings: np.ndarray, count: int) -> np.ndarray:
    """Divides every edge of rings (N, 5, 2) into ``count`` -> (N, 4 * count + 1, 2)."""
    share = np.arange(count)[:, None] / count
    edges = rings[:, :-1, None] + share * (rings[:, 1:] - rings[:, :-1])[:, :, None]
    return np.concatenate([edges.reshape(len(rings), -1, 2), rings[:, -1:]], axis=1)


def _unwrap(rings: np.ndarray) -> np.ndarray:
    """Makes longitudes continuous along rings (N, M, 2); they may then leave -180..180."""
    return np.stack([np.unwrap(rings[..., 0], period=360, axis=1), rings[..., 1]], axis=-1)


def _polygons(rings: np.ndarray) -> np.ndarray:
    """Closed rings (N, M, 2) of lon, lat -> N polygons, see :meth:`Place.footprints`."""
    rings = _unwrap(rings)
    x, y = rings[..., 0], rings[..., 1]
    area = (x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]).sum(axis=1)
    rings = np.where((area < 0)[:, None, None], rings[:, ::-1], rings)
    polygons = shapely.polygons(rings)
    turns = np.abs(rings[:, -1, 0] - rings[:, 0, 0]) > 180
    outside = (np.abs(rings[..., 0]) > 180).any(axis=1)
    for index in np.flatnonzero(turns | outside):
        polygons[index] = _cap(rings[index]) if turns[index] else _cut(polygons[index])
    return polygons


def _cap(ring: np.ndarray) -> Polygon:
    """The polar cap that holds a ring which runs round a pole."""
    latitudes = ring[:, 1]
    if latitudes.mean() > 0:
        return box(-180, latitudes.min(), 180, 90)
    return box(-180, -90, 180, latitudes.max())


def _cut(polygon: Polygon) -> Polygon:
    """The larger part of a polygon that crosses the antimeridian, within -180..180."""
    parts = []
    for turn in (-360, 0, 360):
        inside = shapely.intersection(
            shapely.transform(polygon, lambda xy, turn=turn: xy + np.array([turn, 0])),
            box(-180, -90, 180, 90),
        )
        parts += [part for part in shapely.get_parts(inside) if part.geom_type == "Polygon"]
    return shapely.geometry.polygon.orient(max(parts, key=lambda part: part.area))

"""Georeferences: from pixels to longitude and latitude, and to the footprints of windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from pyproj import CRS
from rasterio import Affine
from rasterio.transform import from_bounds
from shapely.geometry import Polygon

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.georeference.crs import GEOD, proj_code, to_lonlat
from dcsh_pg.imagery.georeference.footprint import window_footprints, window_rings


def project(transform: Affine, pixels: np.ndarray) -> np.ndarray:
    """Pixel positions (..., 2) column, row -> float64 (..., 2) x, y in the CRS."""
    a, b, c, d, e, f = transform[:6]
    column, row = pixels[..., 0], pixels[..., 1]
    return np.stack([a * column + b * row + c, d * column + e * row + f], axis=-1)


class Georeference(ABC):
    """From the pixels of an image to the ground, by whatever transform.

    Args:
        uri: of the image, for messages.
    """

    def __init__(self, *, uri: str):
        self.uri = uri

    @property
    @abstractmethod
    def proj_code(self) -> str | None:
        """'EPSG:26913', or None for a CRS without a code."""

    @abstractmethod
    def _positions(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixel positions (..., 2) column, row -> longitudes and latitudes, perhaps infinite."""

    def lonlat(self, pixels: np.ndarray) -> np.ndarray:
        """Pixel positions (..., 2) column, row -> float64 (..., 2) lon, lat in degrees.

        Raises:
            InputError: a position, or the whole CRS, cannot be transformed to EPSG:4326.
        """
        lon, lat = self._positions(pixels)
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise InputError(
                f"{self.uri} lies partly outside its coordinate reference system's domain",
                hint="check its corners with gdalinfo and fix them with gdal_edit.py, or give "
                "--no-georeference to ingest it without a footprint",
            )
        return np.stack([lon, np.clip(lat, -90, 90)], axis=-1)

    def resolution(self, width: int, height: int) -> float:
        """Metres per pixel at the centre of an image of that size.

        The geometric mean of the geodesic lengths along a row and along a column.
        """
        reach = np.minimum(np.array([width, height]) / 2, 32)
        centre = np.array([width, height]) / 2
        arms = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]]) * reach
        (lon0, lat0), (lon1, lat1), (lon2, lat2), (lon3, lat3) = self.lonlat(centre + arms)
        _, _, across = GEOD.inv(lon0, lat0, lon1, lat1)
        _, _, down = GEOD.inv(lon2, lat2, lon3, lat3)
        return float(np.sqrt(across / (2 * reach[0]) * down / (2 * reach[1])))

    def footprints(self, windows: np.ndarray) -> list[Polygon]:
        """The polygons of ``windows``, int (N, 4), in EPSG:4326, (lon, lat), counter-clockwise.

        See :func:`dcsh_pg.imagery.georeference.footprint.window_footprints`: each is one valid polygon within -180..180,
        -90..90; of one that crosses the antimeridian the larger part.

        Raises:
            InputError: as :meth:`lonlat`, or a window has no area.
        """
        polygons = window_footprints(windows, self.lonlat)
        if any(polygon.is_empty for polygon in polygons):
            raise InputError(
                f"{self.uri} has a georeference that gives its pixels no area",
                hint="check it with gdalinfo and fix it with gdal_edit.py, or give "
                "--no-georeference to ingest it without a footprint",
            )
        return polygons

    def rings(self, windows: np.ndarray) -> np.ndarray | list[Polygon]:
        """:meth:`footprints`, as rings float64 (N, 5, 2) where all need only their corners."""
        found = window_rings(windows, self.lonlat)
        return self.footprints(windows) if found is None else found


class AffineGeoreference(Georeference):
    """A coordinate reference system and an affine transform from pixels to it, as most rasters have.

    Args:
        wkt: the CRS.
        transform: pixel (column, row) to CRS (x, y); may rotate and shear.
        uri: of the image, for messages.
    """

    def __init__(self, wkt: str, transform: Affine, *, uri: str):
        super().__init__(uri=uri)
        self.wkt, self.transform = wkt, transform

    @classmethod
    def of_bounds(
        cls, bounds: tuple[float, float, float, float], width: int, height: int, *, uri: str
    ) -> AffineGeoreference:
        """An image that fills the EPSG:4326 box ``bounds`` (minx, miny, maxx, maxy), north up."""
        return cls(CRS.from_epsg(4326).to_wkt(), from_bounds(*bounds, width, height), uri=uri)

    @property
    def proj_code(self) -> str | None:
        return proj_code(self.wkt)

    @property
    def origin(self) -> tuple[float, float]:
        """Column and row of the origin of the CRS, x = 0 and y = 0."""
        inverse = ~self.transform
        return inverse.c, inverse.f

    def _positions(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = np.moveaxis(project(self.transform, pixels), -1, 0)
        return to_lonlat(self.wkt, x, y, uri=self.uri)


@dataclass(frozen=True)
class Frame:
    """The georeference of a whole image, whatever its size in pixels.

    Attributes:
        wkt: the CRS.
        transform: from fractions of width and height, (0, 0) the upper left corner and (1, 1) the
            lower right one, to CRS (x, y); may rotate and shear.
    """

    wkt: str
    transform: Affine

    @classmethod
    def of_bounds(cls, wkt: str, bounds: tuple[float, float, float, float]) -> Frame:
        """The box ``bounds`` (minx, miny, maxx, maxy) in the CRS, north up."""
        return cls(wkt, from_bounds(*bounds, 1, 1))

    @classmethod
    def of_raster(cls, wkt: str, transform: Affine, width: int, height: int) -> Frame:
        """The frame of a raster: its transform from pixel (column, row) to CRS (x, y), and its size."""
        return cls(wkt, transform * Affine.scale(width, height))

    def georeference(self, width: int, height: int, *, uri: str) -> AffineGeoreference:
        """The georeference of an image of ``width`` x ``height`` pixels that fills the frame."""
        return AffineGeoreference(
            self.wkt, self.transform * Affine.scale(1 / width, 1 / height), uri=uri
        )

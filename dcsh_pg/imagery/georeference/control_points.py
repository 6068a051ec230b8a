"""Georeferences of rasters without an affine transform: ground control points, RPCs."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence

import numpy as np
from pyproj import CRS, Transformer
from rasterio import DatasetReader
from rasterio.control import GroundControlPoint
from rasterio.errors import TransformWarning
from rasterio.transform import GCPTransformer, RPCTransformer, TransformerBase, from_gcps

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.georeference.affine import AffineGeoreference, Georeference, project
from dcsh_pg.imagery.georeference.crs import proj_code, to_lonlat
from dcsh_pg.imagery.georeference.footprint import on_sphere

# A point that cannot be transformed becomes infinite, which is checked.
warnings.filterwarnings("ignore", category=TransformWarning)

MAX_RESIDUAL = 1.0
"""Largest residual in pixels of an affine transform that replaces ground control points."""

MAX_POINTS = 400
"""Most control points of a spline; of more, so many are taken evenly from their list."""


def georeference_of_gcps(
    points: Sequence[GroundControlPoint], wkt: str, *, uri: str
) -> Georeference:
    """The georeference by ground control points: an affine transform where it fits, else a spline.

    Args:
        wkt: the CRS of their x and y.
        uri: of the image, for messages.

    Raises:
        InputError: there are fewer than three, they lie on a line, or are not finite.
    """
    pixels = np.array([(point.col, point.row) for point in points], dtype=np.float64)
    spread = np.linalg.matrix_rank(pixels - pixels.mean(axis=0)) if np.isfinite(pixels).all() else 0
    if spread < 2:
        raise _unusable(uri, "ground control points")
    transform = from_gcps(points)
    fitted = project(transform, pixels)
    actual = np.array([(point.x, point.y) for point in points])
    pixel = np.sqrt(abs(transform.determinant))
    if np.linalg.norm(fitted - actual, axis=1).max() <= MAX_RESIDUAL * pixel:
        return AffineGeoreference(wkt, transform, uri=uri)
    return _GcpGeoreference(pixels, actual, wkt, uri=uri)


class _TransformedGeoreference(Georeference):
    """A georeference by one of GDAL's transformers from pixels to a CRS."""

    def __init__(self, transformer: TransformerBase, wkt: str, *, uri: str):
        super().__init__(uri=uri)
        self._transformer, self._wkt = transformer, wkt
        self._lock = threading.Lock()

    def _positions(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape, flat = pixels.shape[:-1], pixels.reshape(-1, 2)
        try:
            with self._lock:
                x, y = self._transformer.xy(flat[:, 1], flat[:, 0], offset="ul")
        except Exception:  # GDAL raises whatever the coefficients cause
            return np.full(shape, np.inf), np.full(shape, np.inf)
        x, y = np.reshape(x, shape), np.reshape(y, shape)
        return to_lonlat(self._wkt, x, y, uri=self.uri)


class _GcpGeoreference(_TransformedGeoreference):
    """Thin plate spline through ground control points.

    It is fitted on a plane that touches the Earth in their middle: longitudes jump at the
    antimeridian and crowd at the poles.
    """

    def __init__(self, pixels: np.ndarray, ground: np.ndarray, wkt: str, *, uri: str):
        self._points_wkt = wkt
        chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), MAX_POINTS)).round().astype(int)
        lon, lat = to_lonlat(wkt, *ground[chosen].T, uri=uri)
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise _unusable(uri, "ground control points")
        plane, x, y = _on_plane(lon, lat)
        points = [
            GroundControlPoint(row, col, east, north)
            for (col, row), east, north in zip(pixels[chosen], x, y, strict=True)
        ]
        try:
            transformer = GCPTransformer(points, tps=True)
        except Exception:  # GDAL raises whatever the points cause
            raise _unusable(uri, "ground control points") from None
        super().__init__(transformer, plane, uri=uri)

    @property
    def proj_code(self) -> str | None:
        return proj_code(self._points_wkt)


def georeference_of_rpcs(source: DatasetReader, *, uri: str) -> Georeference:
    """The georeference by rational polynomials, at their mean terrain height.

    Raises:
        InputError: they are incomplete or unusable.
    """
    try:
        rpcs = source.rpcs
        transformer = RPCTransformer(rpcs, RPC_HEIGHT=rpcs.height_off)
    except Exception:  # GDAL raises whatever the coefficients cause
        raise _unusable(uri, "rational polynomial coefficients (RPC)") from None
    return _RpcGeoreference(transformer, CRS.from_epsg(4326).to_wkt(), uri=uri)


class _RpcGeoreference(_TransformedGeoreference):
    @property
    def proj_code(self) -> str:
        return "EPSG:4326"


def _on_plane(lon: np.ndarray, lat: np.ndarray) -> tuple[str, np.ndarray, np.ndarray]:
    """A CRS tangent to the Earth in the middle of points, and the points in it."""
    middle = on_sphere(np.stack([lon, lat], axis=-1)).mean(axis=0)
    lon_0, lat_0 = np.degrees(
        [np.arctan2(middle[1], middle[0]), np.arctan2(middle[2], np.hypot(middle[0], middle[1]))]
    )
    plane = CRS.from_proj4(f"+proj=aeqd +lon_0={lon_0} +lat_0={lat_0} +datum=WGS84 +type=crs")
    x, y = Transformer.from_crs("EPSG:4326", plane, always_xy=True).transform(lon, lat)
    return plane.to_wkt(), x, y


def _unusable(uri: str, what: str) -> InputError:
    return InputError(
        f"{uri} has {what} that do not georeference it",
        hint="check them with gdalinfo, or give --no-georeference to ingest it without a footprint",
    )

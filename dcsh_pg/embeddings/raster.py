"""Rasters that GDAL reads whose bands are the numbers of an embedding: AlphaEarth, OlmoEarth, TESSERA as GeoTIFF.

Scales that a product has for each pixel are a raster of one band beside it: X_scales.tif of X.tif.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from dcsh_pg.embeddings.file import EmbeddingFile, Using, identity
from dcsh_pg.embeddings.making import Making
from dcsh_pg.embeddings.pooling import Pixels, PooledFile
from dcsh_pg.errors import InputError
from dcsh_pg.imagery.georeference.affine import AffineGeoreference
from dcsh_pg.imagery.metadata.origin import remote_identity
from dcsh_pg.imagery.pixels.gdal import gdal, is_gdal_name, open_raster
from dcsh_pg.imagery.pixels.limits import check_raster

SUFFIXES = (".tif", ".tiff", ".gtiff", ".jp2", ".vrt")
SCALES = "_scales"
"""End of the name, before its suffix, of the file of scales."""


class RasterFile(PooledFile):
    """A raster whose bands are the numbers of an embedding."""

    FORMAT = "raster"

    @contextlib.contextmanager
    def pixels(self) -> Iterator[Pixels]:
        any_driver = self.using.options.any_driver
        with gdal(self.uri), contextlib.ExitStack() as stack:
            source = stack.enter_context(open_raster(self.uri, any_driver=any_driver))
            check_raster(source, self.uri)
            scales = None
            if self.using.making.dequantisation == "scales":
                scales = stack.enter_context(open_raster(self._scales(), any_driver=any_driver))
                check_raster(scales, self.uri)
            yield _RasterPixels(source, scales, self.using.making, self.uri)

    def content(self) -> str:
        has_scales = self.using.making.dequantisation == "scales"
        if not is_gdal_name(self.uri):
            return identity(self.uri, *([identity(self._scales())] if has_scales else []))
        with gdal(self.uri), open_raster(self.uri, any_driver=False) as source:
            shape = (source.width, source.height, source.count, source.dtypes)
            tags = sorted(source.tags().items())
            return remote_identity([self.uri, shape, tuple(source.transform), tags])

    def _scales(self) -> str:
        stem, _, suffix = self.uri.rpartition(".")
        path = f"{stem}{SCALES}.{suffix}"
        if not is_gdal_name(path) and not Path(path).is_file():
            raise InputError(
                f"{self.uri} has no file of scales beside it",
                hint=f"expected {path}; for embeddings of floats train with --dequantise none",
            )
        return path


def opened(uri: str, name: str, using: Using) -> EmbeddingFile:
    return RasterFile(uri, name, using)


class _RasterPixels(Pixels):
    def __init__(
        self,
        source: rasterio.DatasetReader,
        scales: rasterio.DatasetReader | None,
        making: Making,
        uri: str,
    ):
        self._source, self._scales, self._making = source, scales, making
        self.width, self.height, self.dimension = source.width, source.height, source.count
        height, width = source.block_shapes[0]
        self.block = (width, height)
        kinds = set(source.dtypes)
        if making.dequantisation == "signed-power" and kinds != {"int8"}:
            raise _wrong(uri, f"{source.dtypes[0]}, not int8", "none")
        if making.dequantisation == "none" and not kinds <= {"float32", "float64", "float16"}:
            raise _wrong(uri, f"{source.dtypes[0]}, not floats", "signed-power or scales")
        if scales is not None and (scales.width, scales.height) != (self.width, self.height):
            raise InputError(f"{uri} and its file of scales have other sizes")
        if source.crs and not source.transform.is_identity:
            self.georeference = AffineGeoreference(source.crs.to_wkt(), source.transform, uri=uri)

    def read(self, left: int, top: int, width: int, height: int) -> np.ndarray:
        window = Window(left, top, width, height)
        stored = self._source.read(window=window)
        values = self._making.dequantised(stored)
        if self._making.dequantisation == "none" and self._source.nodata is not None:
            values = np.where(stored == self._source.nodata, np.nan, values)
        if self._scales is not None:
            values = scaled(values, self._scales.read(1, window=window))
        # A pixel is invalid as a whole: one number that is not finite hides the others.
        values[:, ~np.isfinite(values).all(axis=0)] = np.nan
        return values


def scaled(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Numbers (D, h, w) times the scale of their pixel; a scale of 0 or less is nodata."""
    factors = scales.astype(np.float32)
    found: np.ndarray = values * np.where(factors > 0, factors, np.nan)
    return found


def _wrong(uri: str, has: str, rule: str) -> InputError:
    return InputError(
        f"{uri} has numbers of {has}", hint=f"train a model for it with --dequantise {rule}"
    )

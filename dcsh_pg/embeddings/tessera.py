"""TESSERA's own layout: X.npy int8 (H, W, 128), X_scales.npy float32 (H, W), and a GeoTIFF X.tiff of the same pixels
(its land mask) for the place, beside them or in a folder ``landmasks`` beside one of its parents."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dcsh_pg.embeddings.file import EmbeddingFile, Using, identity, load
from dcsh_pg.embeddings.making import Making
from dcsh_pg.embeddings.pooling import Pixels, PooledFile
from dcsh_pg.embeddings.raster import SCALES, scaled
from dcsh_pg.errors import InputError
from dcsh_pg.imagery.georeference.affine import AffineGeoreference
from dcsh_pg.imagery.pixels.gdal import gdal, open_raster

_PARENTS = 4


class TesseraFile(PooledFile):
    """A tile of arrays."""

    FORMAT = "tessera"

    @contextlib.contextmanager
    def pixels(self) -> Iterator[Pixels]:
        quantised, scales = load(self.uri), load(self._beside(f"{SCALES}.npy"))
        if scales.ndim == 3 and scales.shape[2] == 1:
            scales = scales[:, :, 0]
        if quantised.ndim != 3 or scales.shape != quantised.shape[:2]:
            raise InputError(
                f"{self.uri} has an array of {quantised.shape} and scales of {scales.shape}",
                hint="expected (height, width, numbers) and (height, width)",
            )
        place = self._place(quantised.shape[1], quantised.shape[0])
        yield _TesseraPixels(quantised, scales, self.using.making, place)

    def content(self) -> str:
        return identity(self.uri, identity(self._beside(f"{SCALES}.npy")), self._mask() or "")

    def _beside(self, end: str) -> str:
        path = self.uri[: -len(".npy")] + end
        if not Path(path).is_file():
            raise InputError(f"{self.uri} has no file of scales beside it", hint=f"expected {path}")
        return path

    def _mask(self) -> str | None:
        path = Path(self.uri)
        folders = [path.parent, *(parent / "landmasks" for parent in [*path.parents][:_PARENTS])]
        names = (f"{path.stem}.tiff", f"{path.stem}.tif")
        found = (folder / name for folder in folders for name in names)
        return next((str(mask) for mask in found if mask.is_file()), None)

    def _place(self, width: int, height: int) -> AffineGeoreference | None:
        mask = self._mask()
        if mask is None:
            return None
        with gdal(mask), open_raster(mask, any_driver=False) as source:
            if (source.width, source.height) != (width, height):
                raise InputError(
                    f"{mask} has {source.width} x {source.height} pixels, {self.uri} {width} x {height}"
                )
            if not source.crs:
                return None
            return AffineGeoreference(source.crs.to_wkt(), source.transform, uri=self.uri)


def opened(uri: str, name: str, using: Using) -> EmbeddingFile:
    return TesseraFile(uri, name, using)


class _TesseraPixels(Pixels):
    def __init__(
        self,
        quantised: np.ndarray,
        scales: np.ndarray,
        making: Making,
        place: AffineGeoreference | None,
    ):
        self._quantised, self._scales, self._making = quantised, scales, making
        self.height, self.width, self.dimension = quantised.shape
        self.block = (self.width, 64)
        self.georeference = place

    def read(self, left: int, top: int, width: int, height: int) -> np.ndarray:
        window = slice(top, top + height), slice(left, left + width)
        stored = np.moveaxis(np.asarray(self._quantised[window]), -1, 0)
        values = scaled(self._making.dequantised(stored), np.asarray(self._scales[window]))
        values[:, ~np.isfinite(values).all(axis=0)] = np.nan
        return values

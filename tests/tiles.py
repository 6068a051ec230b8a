"""Small tiles after the layouts that AlphaEarth, OlmoEarth and TESSERA publish."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.transform import from_origin

TRANSFORM = from_origin(500_000, 5_600_000, 10, 10)
CRS = "EPSG:32632"


def quantised(bands, height, width, seed=0):
    """Smooth int8 embeddings (bands, height, width) with a corner of nodata."""
    random = np.random.default_rng(seed)
    coarse = random.integers(-100, 101, (bands, -(-height // 4), -(-width // 4)))
    q = np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2)[:, :height, :width]
    q = np.clip(q + random.integers(-9, 10, q.shape), -127, 127).astype(np.int8)
    q[:, : height // 3, : width // 3] = -128
    return q


def write_tif(path, pixels, nodata=None, crs=CRS, **options):
    """A tiled GeoTIFF of pixels (bands, height, width)."""
    bands, height, width = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype=pixels.dtype,
        crs=crs, transform=TRANSFORM, nodata=nodata, tiled=True, blockxsize=16, blockysize=16,
        **options,
    ) as out:  # fmt: skip
        out.write(pixels)
    return path


def write_tessera(folder, q, scales, name="grid_10.05_50.55"):
    """The arrays of a tile, with the land mask that places it."""
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}.npy", np.moveaxis(q, 0, -1))
    np.save(folder / f"{name}_scales.npy", scales)
    write_tif(folder / f"{name}.tiff", np.ones((1, *scales.shape), np.uint8))
    return folder / f"{name}.npy"

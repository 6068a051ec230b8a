"""What a header may claim: sizes that no honest raster has are refused before a pixel is read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Interleaving

from dcsh_pg.errors import InputError

MAX_BLOCK_BYTES = 256 << 20
"""Of a tile or strip, which must be decompressed as a whole for each of its pixels."""

MAX_PIXELS_A_BYTE = 100_000
"""Of the file.  A sparse TIFF without any data has 16,000, its index alone, with tiles of 512."""

FREE_PIXELS = 100_000_000
"""Rasters up to this size may be as small as they like."""

_DRIVERS = {"GTiff", "LIBERTIFF", "JP2OpenJPEG", "HFA", "ENVI", "NITF", "JPEG", "PNG", "WEBP"}
"""GDAL's drivers whose files hold the pixels themselves."""


def check_raster(source: rasterio.DatasetReader, uri: str) -> None:
    """Refuses a raster whose header claims what its file cannot hold, or memory cannot.

    Raises:
        InputError: a block, or the number of pixels beside the file's size, is absurd.
    """
    _check_blocks(source, uri)
    pixels = source.width * source.height
    size = _size(Path(uri))
    if size and source.driver in _DRIVERS and pixels > max(FREE_PIXELS, MAX_PIXELS_A_BYTE * size):
        raise InputError(
            f"{uri} claims {source.width:,} x {source.height:,} pixels in {size:,} bytes",
            hint="its header is damaged or made up; look at it with gdalinfo",
        )


def _check_blocks(source: rasterio.DatasetReader, uri: str) -> None:
    height, width = map(max, zip(*source.block_shapes, strict=True))
    bands = source.count if source.interleaving == Interleaving.pixel else 1
    size = height * width * bands * max(np.dtype(kind).itemsize for kind in set(source.dtypes))
    if size > MAX_BLOCK_BYTES:
        raise InputError(
            f"{uri} has blocks of {width:,} x {height:,} pixels, {math.ceil(size / 2**20):,} MiB each",
            hint="make a tiled raster of it: gdal_translate -of COG",
        )


def _size(path: Path) -> int:
    """Bytes of a local raster, with those of Erdas Imagine's file of pixels; 0 of others."""
    files = [path, path.with_suffix(".ige")]
    return sum(file.stat().st_size for file in files if file.is_file())

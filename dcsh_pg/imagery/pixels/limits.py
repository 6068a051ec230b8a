"""Limits on what a header may claim, checked before a pixel is read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Interleaving

from dcsh_pg.errors import InputError

MAX_BLOCK_BYTES = 256 << 20
"""Most bytes of a tile or strip, which is decompressed as a whole for any of its pixels."""

MAX_PIXELS_A_BYTE = 100_000
"""Most pixels per byte of the file.  A sparse TIFF without data has 16,000, with tiles of 512."""

FREE_PIXELS = 100_000_000
"""Pixels of a raster that is never too large for its file."""

_DRIVERS = {"GTiff", "LIBERTIFF", "JP2OpenJPEG", "HFA", "ENVI", "NITF", "JPEG", "PNG", "WEBP"}
"""GDAL's drivers whose files contain the pixels themselves."""


def check_raster(source: rasterio.DatasetReader, uri: str) -> None:
    """Refuses a raster whose header claims more than its file or the memory can hold.

    Raises:
        InputError: its blocks are too large, or its pixels too many for the file's size.
    """
    _check_blocks(source, uri)
    pixels = source.width * source.height
    size = _size(Path(uri))
    if size and source.driver in _DRIVERS and pixels > max(FREE_PIXELS, MAX_PIXELS_A_BYTE * size):
        raise InputError(
            f"{uri} claims {source.width:,} x {source.height:,} pixels in {size:,} bytes",
            hint="its header is damaged or forged; check it with gdalinfo",
        )


def _check_blocks(source: rasterio.DatasetReader, uri: str) -> None:
    height, width = map(max, zip(*source.block_shapes, strict=True))
    bands = source.count if source.interleaving == Interleaving.pixel else 1
    size = height * width * bands * max(np.dtype(kind).itemsize for kind in set(source.dtypes))
    if size > MAX_BLOCK_BYTES:
        raise InputError(
            f"{uri} has blocks of {width:,} x {height:,} pixels, {math.ceil(size / 2**20):,} MiB each",
            hint="convert it to a tiled raster: gdal_translate -of COG",
        )


def _size(path: Path) -> int:
    """Bytes of a local raster, with Erdas Imagine's file of pixels; 0 for others."""
    files = [path, path.with_suffix(".ige")]
    return sum(file.stat().st_size for file in files if file.is_file())

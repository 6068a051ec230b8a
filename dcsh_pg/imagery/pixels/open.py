"""The scene at a path or URL: a raster, a plain picture, or what is made from them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from dcsh_pg.imagery.metadata.origin import Origin
from dcsh_pg.imagery.parts import is_parts
from dcsh_pg.imagery.pixels.formats import PICTURES
from dcsh_pg.imagery.pixels.gdal import is_gdal_name
from dcsh_pg.imagery.pixels.picture import PictureScene
from dcsh_pg.imagery.pixels.raster import RasterScene
from dcsh_pg.imagery.pixels.side_files import is_regular
from dcsh_pg.imagery.pixels.stack import StackScene
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Scene

MAX_AUXILIARY = 16 << 20
"""Bytes of an .aux.xml that are searched for a coordinate reference system."""


def open_scene(uri: str, reading: Reading, *, bands: int, origin: Origin) -> Scene:
    """The scene at an absolute path, URL or GDAL name.  Its file is opened only when it is read.

    Args:
        reading: how it is cut and its pixels read.
        bands: channels that the model takes.
        origin: what is known besides the file, and the options of the run.
    """
    if is_parts(uri) or reading.is_resampled or reading.mask is not None:
        return StackScene(uri, reading, channels=bands, origin=origin, is_picture=is_picture(uri))
    if is_picture(uri):
        return PictureScene(Path(uri), reading, channels=bands, origin=origin)
    return RasterScene(uri, reading, channels=bands, origin=origin)


def is_picture(uri: str) -> bool:
    """Whether a file is a picture without a world file or a CRS in a side file."""
    if is_gdal_name(uri) or not uri.lower().endswith(PICTURES):
        return False
    stem, suffix = os.path.splitext(uri)
    world = (".wld", suffix + "w", suffix[:2] + suffix[-1] + "w")
    if any(os.path.exists(stem + ending) for ending in world):
        return False
    auxiliary = Path(uri + ".aux.xml")
    if not is_regular(auxiliary):
        return True
    with suppress(OSError), auxiliary.open("rb") as file:
        return b"<SRS" not in file.read(MAX_AUXILIARY)
    return True

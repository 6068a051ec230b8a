"""Reading a query image as the scenes of an archive are read."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace

import numpy as np

from dcsh_pg.errors import InputError, UsageError
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.metadata.origin import Origin
from dcsh_pg.imagery.pixels.open import open_scene
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Scene, SceneRecord
from dcsh_pg.imagery.sources.files import find_scenes

MAX_PIXELS = 64_000_000
"""A larger query image needs a window."""


@dataclass(frozen=True)
class QueryImage:
    """A query image as one chip.

    Attributes:
        pixels: (1, H, W, C) of the reading's type.
        resolution: metres per pixel of these pixels, or None if the image is not georeferenced.
    """

    pixels: np.ndarray
    resolution: float | None


def read_query(
    path: str,
    *,
    reading: Reading,
    bands: int,
    window: tuple[int, int, int, int] | None = None,
    is_trusted: bool = True,
) -> QueryImage:
    """A query image as one chip, whatever its size and position.

    Args:
        path: picture or raster, file, URL or GDAL name.
        reading: of the archive; its bands, scale and resolution are used, its grid and mask are not.  A
            file without the names of its bands has them in the model's order.
        bands: channels that the model takes.
        window: col_off, row_off, width, height in pixels, or None for the whole image.
        is_trusted: the user named the file.  A file from elsewhere is opened as the files of a
            folder are: not by drivers that read other files and URLs.

    Raises:
        InputError: the image cannot be read, is too large, or holds no valid pixel.
        UsageError: the window is empty or not inside the image.
    """
    whole = replace(reading, chip_size=None, stride=None, multiscale=(), anchor=False, mask=None)
    scene, record = _described(path, whole, bands, is_trusted)
    with scene:
        left, top, width, height = window or (0, 0, record.width, record.height)
        fits = left >= 0 and top >= 0 and width > 0 and height > 0
        if not (fits and left + width <= record.width and top + height <= record.height):
            raise UsageError(
                f"--window {left},{top},{width},{height} is outside {path}",
                hint=f"the image is {record.width} pixels wide and {record.height} high; "
                "give col,row,width,height",
            )
        if width * height > MAX_PIXELS:
            raise InputError(
                f"{path} is too large for a query: {width} x {height} pixels",
                hint="select a part of it with --window col,row,width,height",
            )
        chips = scene.read(np.array([[left, top, width, height]]))
    if chips.valid_fraction[0] == 0:
        raise InputError(f"{path} has no valid pixel there", hint="choose another --window")
    is_brought = reading.resolution and record.resolution
    return QueryImage(chips.pixels, reading.resolution if is_brought else record.resolution)


def _described(
    path: str, reading: Reading, bands: int, is_trusted: bool
) -> tuple[Scene, SceneRecord]:
    """The image as a scene, read by the names of its bands if it has them."""
    scene = _query_scene(path, reading, bands, is_trusted)
    try:
        return scene, scene.describe()
    except InputError:
        if any(isinstance(band, str) for band in reading.bands or ()):
            unnamed = _query_scene(path, replace(reading, bands=None), bands, is_trusted)
            with contextlib.suppress(InputError):
                return unnamed, unnamed.describe()
        raise


def _query_scene(path: str, reading: Reading, bands: int, is_trusted: bool) -> Scene:
    options = SceneOptions(georeference=False, any_resolution=True)
    if not is_trusted:
        origin = Origin(os.path.basename(path), options=options)
        return open_scene(path, reading, bands=bands, origin=origin)
    scenes = find_scenes([path], reading=reading, bands=bands, options=options)
    if len(scenes) > 1:
        raise UsageError(
            f"{path} contains {len(scenes)} images", hint="give one image as the query"
        )
    return scenes[0]

"""Reading a query image as the scenes of an archive are read."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from dcsh_pg.errors import InputError, UsageError
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.metadata.origin import Origin
from dcsh_pg.imagery.pixels.open import open_scene
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import find_scenes

MAX_PIXELS = 64_000_000
"""A larger query image needs a window."""


@dataclasses.dataclass(frozen=True)
class QueryImage:
    """A query image as one chip.

    Attributes:
        pixels: (1, H, W, C) of the reading's type.
        resolution: metres per pixel, or None if the image is not georeferenced.
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
        reading: of the archive; its bands and scale are used, its grid is not.
        bands: channels that the model takes.
        window: col_off, row_off, width, height in pixels, or None for the whole image.
        is_trusted: the user named the file.  A file from elsewhere is opened as the files of a
            folder are: not by drivers that read other files and URLs.

    Raises:
        InputError: the image cannot be read, is too large, or holds no valid pixel.
        UsageError: the window is empty or not inside the image.
    """
    whole = dataclasses.replace(reading, chip_size=None, stride=None)
    options = SceneOptions(georeference=False)
    if is_trusted:
        scenes = find_scenes([path], reading=whole, bands=bands, options=options)
    else:
        origin = Origin(os.path.basename(path), options=options)
        scenes = [open_scene(path, whole, bands=bands, origin=origin)]
    if len(scenes) > 1:
        raise UsageError(
            f"{path} contains {len(scenes)} images", hint="give one image as the query"
        )
    with scenes[0] as scene:
        record = scene.describe()
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
    return QueryImage(chips.pixels, record.resolution)

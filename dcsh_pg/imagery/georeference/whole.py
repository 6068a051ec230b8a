"""The georeference of an image of which only the footprint of the whole is known."""

from __future__ import annotations

import math

import numpy as np
from shapely.geometry import Polygon

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.georeference.crs import GEOD


class WholeFootprint:
    """A footprint that is not a box: it cannot be divided among chips.

    Args:
        footprint: in EPSG:4326.
        width, height: of the image in pixels.
        where: what gave the footprint, for messages.
    """

    proj_code = None

    def __init__(self, footprint: Polygon, width: int, height: int, *, where: str):
        self._footprint, self._window, self._where = footprint, (0, 0, width, height), where

    def resolution(self, width: int, height: int) -> float:
        """Metres per pixel, from the area of the footprint."""
        area, _ = GEOD.geometry_area_perimeter(self._footprint)
        return math.sqrt(abs(area) / (width * height))

    def footprints(self, windows: np.ndarray) -> list[Polygon]:
        """The footprint, for each of ``windows``, int (N, 4), that is the whole image.

        Raises:
            InputError: a window is a part of the image.
        """
        if any(tuple(window) != self._window for window in np.asarray(windows).tolist()):
            raise InputError(
                f"{self._where}: a footprint that is not a box cannot be divided into chips",
                hint="give its box (sidecar: bbox, STAC: proj:bbox and proj:code), or take each image "
                "whole (an archive without --chip-size)",
            )
        return [self._footprint] * len(windows)

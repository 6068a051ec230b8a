"""The part of the Earth that a map shows, in longitude and latitude."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from pyproj import Geod
from shapely.geometry.base import BaseGeometry

MARGIN = 0.08
"""Share of the longer side that is left free around what is shown, at least."""

SURROUNDINGS = 0.75
"""Free space around all, in sides of the smallest geometry: one alone does not fill the map."""

WIDEST, TALLEST = 2.0, 1.0
"""Width to height on the ground, at most and at least."""

LEAST_HEIGHT = 0.0004
"""Degrees: about 45 m."""

_GEOD = Geod(ellps="WGS84")


@dataclass(frozen=True)
class View:
    """Degrees; ``east`` is greater than 180 where the map crosses the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def of(cls, geometries: Sequence[BaseGeometry]) -> View:
        """The view of some geometries with a margin around them, across the antimeridian where
        that makes it narrower; the whole Earth for none."""
        parts = shapely.get_parts([geometry for geometry in geometries if not geometry.is_empty])
        if not len(parts):
            return cls(-180, -90, 180, 90)
        bounds = shapely.bounds(parts)
        west = _first_longitude(bounds[:, 0], bounds[:, 2])
        east = np.where(bounds[:, 0] < west, bounds[:, 2] + 360, bounds[:, 2]).max()
        tight = cls(west, float(bounds[:, 1].min()), float(east), float(bounds[:, 3].max()))
        sides = (bounds[:, 2:] - bounds[:, :2]) / [tight.stretch, 1]
        return tight._with_margin(SURROUNDINGS * float(sides.max(axis=1).min()))

    def _with_margin(self, least: float) -> View:
        width, height = self.width / self.stretch, self.height
        margin = max(MARGIN * max(width, height), least)
        height = max(height + 2 * margin, LEAST_HEIGHT, (width + 2 * margin) / WIDEST)
        width = max(width + 2 * margin, TALLEST * height)
        half_width = min(width * self.stretch, 360) / 2
        x, y = (self.west + self.east) / 2, (self.south + self.north) / 2
        return View(
            x - half_width, max(y - height / 2, -90), x + half_width, min(y + height / 2, 90)
        )

    @property
    def width(self) -> float:
        return self.east - self.west

    @property
    def height(self) -> float:
        return self.north - self.south

    @property
    def stretch(self) -> float:
        """Degrees of longitude that are as long as one of latitude, in the middle of the view."""
        return 1 / max(math.cos(math.radians((self.south + self.north) / 2)), 0.1)

    def moved_in(self, geometry: BaseGeometry) -> BaseGeometry:
        """The geometry with longitudes from ``west`` on; parts that the antimeridian cut are one."""
        antipode = (self.west + self.east) / 2 - 180
        parts = [
            shapely.transform(part, lambda lonlat: lonlat + np.array([360, 0]))
            if part.bounds[2] < antipode
            else part
            for part in shapely.get_parts(geometry)
        ]
        return parts[0] if len(parts) == 1 else shapely.unary_union(parts)

    def points(self, geometry: BaseGeometry, inches: float) -> float:
        """The longer side of a geometry on a map of that width, in points (1/72 inch)."""
        west, south, east, north = geometry.bounds
        return max(east - west, (north - south) * self.stretch) / self.width * inches * 72

    def scale_bar(self) -> tuple[float, str] | None:
        """A round length of a fifth of the width or less: in degrees of longitude, and in words.

        None where the scale differs too much over the map for one bar to be true.
        """
        if self.height > 20:
            return None
        y = (self.south + self.north) / 2
        metres = _GEOD.inv(0, y, 1e-3, y)[2] * 1e3 * self.width / 5
        power = 10 ** math.floor(math.log10(metres))
        length = power * max(step for step in (1, 2, 5) if step * power <= metres)
        words = f"{length / 1000:,.0f} km" if length >= 1000 else f"{length:g} m"
        return length / metres * self.width / 5, words


def longitude(degrees: float) -> str:
    """'77.04°W'; longitudes beyond 180 are those of the other side."""
    degrees = (round(degrees, 9) + 180) % 360 - 180
    return _degrees(degrees, "" if abs(degrees) == 180 else "W" if degrees < 0 else "E")


def latitude(degrees: float) -> str:
    """'38.9°N'."""
    return _degrees(round(degrees, 9), "S" if degrees < 0 else "N")


def _degrees(degrees: float, side: str) -> str:
    return f"{round(abs(degrees), 6):.9g}°{side if degrees else ''}"


def _first_longitude(west: np.ndarray, east: np.ndarray) -> float:
    """Where the map begins: behind the widest gap between the geometries, if that is wider than
    the one at the antimeridian."""
    order = np.argsort(west)
    west, reach = west[order], np.maximum.accumulate(east[order])
    gaps = west[1:] - reach[:-1]
    if not len(gaps) or gaps.max() <= west[0] + 360 - reach[-1]:
        return float(west[0])
    return float(west[1:][gaps.argmax()])

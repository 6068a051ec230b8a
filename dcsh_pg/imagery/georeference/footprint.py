"""Footprints: windows as polygons in longitude and latitude, across the antimeridian and the poles.

Edges are compared on the ground and not in degrees: near a pole, degrees say little about metres.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

MAX_DEVIATION = 0.5
"""Largest distance in pixels between a footprint's straight edge and its window's true edge."""

MAX_POINTS = 2048
"""Most points of one footprint."""

_EARTH_RADIUS = 6_371_000.0
_MAX_TURN = 90.0
"""Most degrees of longitude between neighbouring points; with more, the direction is ambiguous."""

_NEAR_POLE = 89.0
_AT_POLE = 90 - 1e-9

LonLat = Callable[[np.ndarray], np.ndarray]
"""Pixel positions (..., 2), column and row -> longitude and latitude in degrees (..., 2)."""


def window_footprints(windows: np.ndarray, lonlat: LonLat) -> list[Polygon]:
    """The footprints of ``windows``, int (N, 4): valid, in -180..180, -90..90, counter-clockwise.

    A window becomes its four corners, joined by straight lines in degrees, and more points only
    where a line would be more than ``MAX_DEVIATION`` pixels from the true edge.  A footprint that
    crosses the antimeridian is cut there and the larger part kept.  One that contains a pole follows
    the antimeridian to the pole and back.

    The package antimeridian does not replace this: it does not find the points that an edge needs,
    and halves a window as wide as the Earth.
    """
    corners = _corners(np.asarray(windows, dtype=np.float64))
    if not len(corners):
        return []
    rings = _divide(corners, 2)
    points = _unwrap(lonlat(rings))
    polygons = np.empty(len(corners), dtype=object)
    is_simple = _is_simple(rings, points)
    # The ends of a ring may differ by a rounding, and then it would not be closed.
    simple = np.concatenate([points[is_simple, 0:-1:2], points[is_simple, :1]], axis=1)
    polygons[is_simple] = shapely.polygons(simple)
    for index in np.flatnonzero(~is_simple):
        polygons[index] = _trace(corners[index], lonlat)
    return _within(polygons)


def window_rings(windows: np.ndarray, lonlat: LonLat) -> np.ndarray | None:
    """The rings of :func:`window_footprints`, float64 (N, 5, 2), without an object for each; None
    where a window needs more points than its corners or is cut."""
    corners = _corners(np.asarray(windows, dtype=np.float64))
    if not len(corners):
        return corners
    rings = _divide(corners, 2)
    points = _unwrap(lonlat(rings))
    if not _is_simple(rings, points).all():
        return None
    simple = np.concatenate([points[:, 0:-1:2], points[:, :1]], axis=1)
    return convex(simple)


def convex(rings: np.ndarray) -> np.ndarray | None:
    """Rings (N, 5, 2) in degrees, counter-clockwise, if all are closed convex quadrilaterals of less
    than half way round the Earth within -180..180, -90..90; else None."""
    if not (np.isfinite(rings).all() and (np.abs(rings) <= (180, 90)).all()):
        return None
    edges = np.diff(rings, axis=1)
    turned = np.roll(edges, -1, axis=1)
    turns = edges[..., 0] * turned[..., 1] - edges[..., 1] * turned[..., 0]
    is_left, is_right = (turns > 0).all(axis=1), (turns < 0).all(axis=1)
    is_narrow = (np.abs(edges[..., 0]) < 180).all()
    if not ((is_left | is_right).all() and is_narrow and (rings[:, 0] == rings[:, -1]).all()):
        return None
    if is_right.any():
        rings = np.where(is_right[:, None, None], rings[:, ::-1], rings)
    return rings


def projected(polygon: Polygon, lonlat: LonLat) -> Polygon:
    """A polygon without holes, transformed to longitude and latitude.

    Only its corners are transformed, except across the antimeridian, where the larger part is
    returned.  Empty where the transform is not finite.

    Args:
        lonlat: transforms the polygon's coordinates.
    """
    corners = lonlat(shapely.get_coordinates(polygon))
    dense = lonlat(shapely.get_coordinates(shapely.segmentize(polygon, polygon.length / 64)))
    if not np.isfinite(dense).all():
        return Polygon()
    unwrapped = _unwrap(dense)
    unwrapped[-1] = unwrapped[0]
    crosses = np.abs(unwrapped[:, 0]).max() > 180
    [footprint] = _within(np.array([Polygon(unwrapped if crosses else corners)]))
    return footprint


def _corners(windows: np.ndarray) -> np.ndarray:
    """Windows (N, 4) -> closed rings (N, 5, 2) of pixel positions; counter-clockwise, north up."""
    left, top, width, height = windows.T
    right, bottom = left + width, top + height
    columns = np.stack([left, left, right, right, left], axis=-1)
    rows = np.stack([top, bottom, bottom, top, top], axis=-1)
    return np.stack([columns, rows], axis=-1)


def _divide(rings: np.ndarray, count: int) -> np.ndarray:
    """Divides every edge of rings (N, 5, 2) into ``count`` -> (N, 4 * count + 1, 2)."""
    share = np.arange(count)[:, None] / count
    edges = rings[:, :-1, None] + share * (rings[:, 1:] - rings[:, :-1])[:, :, None]
    return np.concatenate([edges.reshape(len(rings), -1, 2), rings[:, -1:]], axis=1)


def _unwrap(points: np.ndarray) -> np.ndarray:
    """Makes longitudes continuous along lines (..., M, 2); they may then leave -180..180."""
    longitudes = np.unwrap(points[..., 0], period=360, axis=-1)
    return np.stack([longitudes, points[..., 1]], axis=-1)


def on_sphere(points: np.ndarray) -> np.ndarray:
    """Longitude and latitude (..., 2) -> metres from the centre of a spherical Earth (..., 3)."""
    lon, lat = np.radians(np.moveaxis(points, -1, 0))
    unit = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    metres: np.ndarray = _EARTH_RADIUS * unit
    return metres


def _distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Metres between points (..., 2), straight through the Earth."""
    metres: np.ndarray = np.linalg.norm(on_sphere(first) - on_sphere(second), axis=-1)
    return metres


def _tolerance(rings: np.ndarray, points: np.ndarray) -> np.ndarray:
    """``MAX_DEVIATION`` in metres on the ground; from rings (..., M, 2) in pixels and their points."""
    pixels = np.abs(np.diff(rings, axis=-2)).sum((-1, -2))
    ground = _distance(points[..., 1:, :], points[..., :-1, :]).sum(-1)
    metres: np.ndarray = MAX_DEVIATION * ground / pixels
    return metres


def _is_simple(rings: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which rings (N, 9, 2), of corners and midpoints of edges, need only their corners."""
    straight = (points[:, 0:-1:2] + points[:, 2::2]) / 2
    deviation = _distance(points[:, 1::2], straight).max(-1)
    turns = np.abs(np.diff(points[..., 0], axis=1)).max(-1)
    is_closed = np.abs(points[:, -1, 0] - points[:, 0, 0]) < 180
    is_near_pole = np.abs(points[..., 1]).max(-1) > _NEAR_POLE
    is_straight = deviation <= _tolerance(rings, points)
    is_simple: np.ndarray = is_straight & is_closed & (turns < _MAX_TURN) & ~is_near_pole
    return is_simple


def _trace(corners: np.ndarray, lonlat: LonLat) -> Polygon:
    """The footprint of one window, corners (5, 2), with as many points as its edges need.

    It may leave -180..180.
    """
    pixels = _divide(corners[None], 4)[0]
    points = lonlat(pixels)
    tolerance = _tolerance(pixels, points)
    is_open = np.ones(len(pixels) - 1, dtype=bool)
    while is_open.any() and len(pixels) < MAX_POINTS:
        [chosen] = np.nonzero(is_open)
        middles = (pixels[chosen] + pixels[chosen + 1]) / 2
        true = lonlat(middles)
        ends = _settle_poles(np.stack([points[chosen], points[chosen + 1]], axis=1))
        turn = np.abs(ends[:, 1, 0] - ends[:, 0, 0])
        split = (_distance(true, ends.mean(axis=1)) > tolerance) | (turn > _MAX_TURN)
        split &= np.abs(pixels[chosen + 1] - pixels[chosen]).sum(-1) > MAX_DEVIATION
        is_open[chosen[~split]] = False
        after = chosen[split] + 1
        pixels = np.insert(pixels, after, middles[split], axis=0)
        points = np.insert(points, after, true[split], axis=0)
        is_open = np.insert(is_open, after, True)
    points = _unwrap(_around_poles(points[:-1]))
    turn = np.round((points[-1, 0] - points[0, 0]) / 360)
    if turn == 0:
        return Polygon(points[:-1])
    return _cap(points, north=(turn > 0) == _is_upright(corners, lonlat))


def _settle_poles(ends: np.ndarray) -> np.ndarray:
    """Lines (N, 2, 2) the shorter way round; an end at a pole takes the other end's longitude."""
    lon, lat = ends[..., 0], ends[..., 1]
    at_pole = np.abs(lat) >= _AT_POLE
    touches = at_pole.any(axis=1) & ~at_pole.all(axis=1)
    lon = np.where((touches[:, None] & at_pole), lon[:, ::-1], lon)
    return _unwrap(np.stack([lon, lat], axis=-1))


def _around_poles(points: np.ndarray) -> np.ndarray:
    """A ring (M, 2), closed again; a point at a pole becomes two, with its neighbours' longitudes.

    A pole has no longitude of its own, except where it is an edge, as in a geographic CRS.
    """
    at_pole = np.abs(points[:, 1]) >= _AT_POLE
    before, after = np.roll(at_pole, 1), np.roll(at_pole, -1)
    ring = []
    for index, point in enumerate(points):
        if at_pole[index] and not before[index] and not after[index]:
            pole = np.copysign(90, point[1])
            ring.append((points[index - 1, 0], pole))
            ring.append((points[(index + 1) % len(points), 0], pole))
        else:
            ring.append(tuple(point))
    return np.array([*ring, ring[0]])


def _is_upright(corners: np.ndarray, lonlat: LonLat) -> bool:
    """Whether the image is not mirrored."""
    centre = corners[:4].mean(axis=0)
    arm = (corners[2] - corners[0]) / 8
    middle, right, up = on_sphere(lonlat(centre + np.array([(0, 0), (arm[0], 0), (0, -arm[1])])))
    return float(np.dot(middle, np.cross(right - middle, up - middle))) > 0


def _cap(points: np.ndarray, *, north: bool) -> Polygon:
    """The area between a pole and a line (M, 2) once round the Earth, its longitudes continuous."""
    if points[-1, 0] < points[0, 0]:
        points = points[::-1]
    turn = np.array([360, 0])
    points[-1] = points[0] + turn
    seam = 360 * np.ceil((points[0, 0] - 180) / 360) + 180
    cut = int(np.argmax(points[1:, 0] >= seam)) + 1
    latitude = np.interp(seam, *points[cut - 1 : cut + 1].T)
    line = np.concatenate([points[cut:], points[1:cut] + turn]) - [seam + 180, 0]
    pole = 90 if north else -90
    return Polygon([(-180, latitude), *line, (180, latitude), (180, pole), (-180, pole)])


_WORLD = box(-180, -90, 180, 90)


def _within(polygons: np.ndarray) -> list[Polygon]:
    """The largest part of each polygon, of any longitudes, within -180..180; counter-clockwise."""
    west, south, east, north = shapely.bounds(polygons).T
    is_inside = (west >= -180) & (east <= 180) & (south >= -90) & (north <= 90)
    for index in np.flatnonzero(~(is_inside & shapely.is_valid(polygons))):
        polygons[index] = max(parts(polygons[index]), key=lambda part: part.area, default=Polygon())
    is_clockwise = ~shapely.is_ccw(shapely.get_exterior_ring(polygons))
    polygons[is_clockwise] = shapely.reverse(polygons[is_clockwise])
    return list(polygons)


def parts(polygon: Polygon) -> list[Polygon]:
    """A polygon of any longitudes, cut at the antimeridian: valid parts within -180..180."""
    # Less than a micrometre: GEOS overlays fail on denormal numbers.
    rounded: BaseGeometry = shapely.transform(polygon, lambda points: np.round(points, 12))
    if not shapely.is_valid(rounded):
        rounded = shapely.make_valid(rounded)
    west, _, east, _ = shapely.bounds(rounded)
    turns = range(int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360)))
    moved = [affinity.translate(rounded, xoff=-360 * turn) for turn in turns]
    inside = shapely.intersection(np.array(moved), _WORLD)
    if east - west >= 360:
        inside = np.array([shapely.union_all(inside)])
    pieces = shapely.get_parts(shapely.get_parts(inside))
    return [piece for piece in pieces if piece.geom_type == "Polygon" and piece.area > 0]

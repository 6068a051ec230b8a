"""Places of the map in longitude and latitude."""

from __future__ import annotations

from collections.abc import Iterable

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
)

from .layers import CRS
from .queries import InvalidInput

EARTH = QgsRectangle(-180, -90, 180, 90)
DIGITS = 12
"""Decimals of a coordinate in degrees."""


def _transform(crs: QgsCoordinateReferenceSystem, back: bool = False) -> QgsCoordinateTransform:
    lonlat = QgsCoordinateReferenceSystem(CRS)
    ends = (lonlat, crs) if back else (crs, lonlat)
    return QgsCoordinateTransform(*ends, QgsProject.instance())


def lonlat(point: QgsPointXY, crs: QgsCoordinateReferenceSystem) -> QgsPointXY:
    """A point in EPSG:4326.

    Raises:
        InvalidInput: it cannot be transformed.
    """
    try:
        return _transform(crs).transform(point)
    except QgsCsException:
        raise InvalidInput("the place cannot be transformed to EPSG:4326") from None


def area_wkt(polygons: Iterable[QgsGeometry], crs: QgsCoordinateReferenceSystem) -> str:
    """Polygons as one valid area, WKT in EPSG:4326.

    Raises:
        InvalidInput: there is none, or it lies outside the Earth.
    """
    area = QgsGeometry.unaryUnion(list(polygons))
    try:
        if area.transform(_transform(crs)) != QgsGeometry.OperationResult.Success:
            raise QgsCsException
    except QgsCsException:
        raise InvalidInput("the area cannot be transformed to EPSG:4326") from None
    area = area.makeValid().clipped(EARTH)
    if area.isNull() or area.isEmpty() or area.area() == 0:
        raise InvalidInput("the area is empty")
    return area.asWkt(DIGITS)


def extent_wkt(extent: QgsRectangle, crs: QgsCoordinateReferenceSystem) -> str:
    """A map's extent as WKT in EPSG:4326; its sides are bent where the transformation bends them.

    Raises:
        InvalidInput: as `area_wkt`.
    """
    return area_wkt([QgsGeometry.fromRect(extent).densifyByCount(16)], crs)


def extent_on_map(bounds: QgsRectangle, crs: QgsCoordinateReferenceSystem) -> QgsRectangle:
    """Bounds in EPSG:4326 in a map's coordinates, with a margin around them.

    Raises:
        InvalidInput: they cannot be transformed.
    """
    try:
        made = _transform(crs, back=True).transformBoundingBox(bounds)
    except QgsCsException:
        raise InvalidInput("the archive lies outside of the map's coordinate system") from None
    made.grow(0.05 * max(made.width(), made.height()))
    return made

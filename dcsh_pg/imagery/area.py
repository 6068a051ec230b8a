"""An area of interest, written as GeoJSON, WKT or a bounding box."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import MultiPolygon, Polygon, box, shape
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from dcsh_pg import strict_json, strict_wkt
from dcsh_pg.errors import DcshError, InputError, UsageError

AreaLike: TypeAlias = "BaseGeometry | Mapping[str, Any] | Sequence[float] | str | PathLike[str]"
"""What :func:`to_area` takes."""

_HINT = "give a GeoJSON file, GeoJSON, WKT, or west,south,east,north in degrees"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_BBOX = re.compile(rf"\s*\[?\s*({_NUMBER}(?:\s*[,\s]\s*{_NUMBER}){{3}})\s*\]?\s*\Z")
_LONLAT_CRS = re.compile(r"CRS84|EPSG:+4326", re.IGNORECASE)


def parse_area(text: str, option: str = "--area") -> Polygon | MultiPolygon:
    """An area in EPSG:4326, (lon, lat).

    Args:
        text: path of a GeoJSON file, GeoJSON (geometry, Feature or FeatureCollection), WKT of a
            polygon, or 'west,south,east,north' in degrees.  A box whose west is greater than its
            east crosses the antimeridian and becomes two.
        option: what gave the text, for messages.

    Raises:
        InputError: the file does not exist or is not GeoJSON.
        UsageError: the text is none of these, has no area, or its coordinates are out of range.
    """
    text = text.strip()
    if text.startswith("{"):
        return _checked(_from_geojson(text, option, UsageError), option)
    if match := _BBOX.match(text):
        west, south, east, north = map(float, re.findall(_NUMBER, match[1]))
        return _from_bounds(west, south, east, north, option)
    if _is_file(text):
        try:
            content = Path(text).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"area {text} cannot be read: {error}", hint=_HINT) from None
        return _checked(_from_geojson(content, f"area {text}", InputError), f"area {text}")
    if re.search(r"\.(geo)?json$", text, re.IGNORECASE):
        raise InputError(f"no such file: {text}", hint=_HINT)
    return _checked(_from_wkt(text, option), option)


def to_area(value: AreaLike, name: str = "area") -> BaseGeometry:
    """An area in EPSG:4326 from any of the forms that Python callers have.

    Args:
        value: a geometry, which is returned unchanged; GeoJSON as a mapping, or an object with
            ``__geo_interface__``; a bounding box of four numbers; or what :func:`parse_area` takes.
        name: what the value is for, in messages.

    Raises:
        InputError, UsageError: as :func:`parse_area`.
    """
    if isinstance(value, BaseGeometry):
        return value
    if isinstance(value, (str, PathLike)):
        return parse_area(str(value), name)
    if isinstance(value, Sequence):
        return parse_area(",".join(map(str, value)), name)
    content = getattr(value, "__geo_interface__", value)
    try:
        return parse_area(json.dumps(content), name)
    except (TypeError, ValueError):
        raise UsageError(f"{name} {_short(str(value))} cannot be read", hint=_HINT) from None


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def _from_bounds(
    west: float, south: float, east: float, north: float, option: str
) -> Polygon | MultiPolygon:
    if west > east and south < north and east >= -180 and west <= 180:
        parts = [box(west, south, 180, north), box(-180, south, east, north)]
        return _checked(MultiPolygon(parts), option)
    if west >= east or south >= north:
        raise UsageError(
            f"{option} {west:g},{south:g},{east:g},{north:g} is not a box",
            hint="the order is west,south,east,north (minx,miny,maxx,maxy)",
        )
    return _checked(box(west, south, east, north), option)


def _from_wkt(text: str, option: str) -> BaseGeometry:
    srid = re.match(r"SRID\s*=\s*(\d+)\s*;", text, re.IGNORECASE)
    if srid and srid[1] != "4326":
        raise UsageError(
            f"{option} is in EPSG:{srid[1]}", hint="give it in EPSG:4326, longitude first"
        )
    try:
        with np.errstate(invalid="ignore"):  # NaN is refused later, in words
            return strict_wkt.loads(text[srid.end() :] if srid else text)
    except ValueError:
        raise UsageError(f"{option} {_short(text)} cannot be read", hint=_HINT) from None


def _from_geojson(text: str, what: str, error: type[DcshError]) -> BaseGeometry:
    try:
        content = strict_json.loads_checked(text)
        named = (content.get("crs") or {}).get("properties", {}).get("name", "CRS84")
        parts = _geometries(content)
        is_finite = not any(_holds_null(part.get("coordinates", [])) for part in parts)
        geometries = [shape(part) for part in parts] if is_finite else []
    except (ArithmeticError, ValueError, TypeError, LookupError, AttributeError, ShapelyError):
        raise error(f"{what} is not GeoJSON", hint=_HINT) from None
    if not is_finite:
        raise error(f"{what} has coordinates that are not finite numbers", hint=_HINT)
    if not _LONLAT_CRS.search(str(named)):
        raise error(
            f"{what} is in {named}", hint="transform it to EPSG:4326: ogr2ogr -t_srs EPSG:4326"
        )
    return unary_union(geometries)


def _geometries(content: dict[str, Any]) -> list[dict[str, Any]]:
    if content["type"] == "FeatureCollection":
        return [part["geometry"] for part in content["features"] if part["geometry"]]
    if content["type"] == "Feature":
        return [content["geometry"]]
    return [content]


def _holds_null(coordinates: Any) -> bool:
    """True if one is null, as NaN and Infinity are parsed."""
    if isinstance(coordinates, list):
        return any(map(_holds_null, coordinates))
    return coordinates is None


def _checked(geometry: BaseGeometry, what: str) -> Polygon | MultiPolygon:
    geometry = shapely.force_2d(geometry)
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise UsageError(f"{what} has coordinates that are not finite numbers", hint=_HINT)
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry)
    surfaces = [
        part
        for part in shapely.get_parts(shapely.get_parts(geometry))
        if part.geom_type == "Polygon" and part.area > 0
    ]
    if not surfaces:
        raise UsageError(
            f"{what} has no area: it is a {geometry.geom_type}",
            hint="draw a polygon, or give a box: west,south,east,north",
        )
    west, south, east, north = geometry.bounds
    if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise UsageError(
            f"{what} looks projected: x {west:g} to {east:g}, y {south:g} to {north:g}",
            hint="give it in degrees (EPSG:4326), longitude first",
        )
    return surfaces[0] if len(surfaces) == 1 else MultiPolygon(surfaces)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")

"""A hit as flat fields, told alike by every output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

if TYPE_CHECKING:
    from dcsh_pg.database.search import Hit

FIELDS = (
    "rank",
    "distance",
    "id",
    "scene_id",
    "uri",
    "acquired",
    "col_off",
    "row_off",
    "width",
    "height",
    "valid_fraction",
)
"""The fields of every record, in order; the properties of the scene follow."""

_TAKEN = {*FIELDS, "footprint", "geometry", "bbox", "wkt"}


def records(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """One flat dict a hit: ``FIELDS``, then the scene's properties under their own names.

    ``rank`` counts from 1 in the order given, ``acquired`` is ISO 8601 in UTC or None.  A property
    that bears the name of a field or of an output's geometry is told as ``scene:<name>``.
    """
    return [_record(rank, hit) for rank, hit in enumerate(hits, start=1)]


def _record(rank: int, hit: Hit) -> dict[str, Any]:
    col_off, row_off, width, height = (int(number) for number in hit.window)
    fields = {
        "rank": rank,
        "distance": int(hit.distance),
        "id": int(hit.id),
        "scene_id": int(hit.scene_id),
        "uri": hit.uri,
        "acquired": iso(hit.acquired),
        "col_off": col_off,
        "row_off": row_off,
        "width": width,
        "height": height,
        "valid_fraction": round(float(hit.valid_fraction), 6),
    }
    for name, value in (hit.properties or {}).items():
        fields[f"scene:{name}" if name in _TAKEN else name] = value
    return fields


def columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Records -> columns for formats that want every row alike.

    A property that a row lacks is None there; lists and objects become JSON text.
    """
    names = dict.fromkeys(FIELDS) | dict.fromkeys(name for row in rows for name in row)
    return {name: [_cell(row.get(name)) for row in rows] for name in names}


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value


def geometry(hit: Hit) -> BaseGeometry | None:
    """The footprint as a shapely geometry, longitude and latitude, or None."""
    return None if hit.footprint is None else shape(hit.footprint)


def utc(acquired: datetime) -> datetime:
    """The time in UTC; one without a zone is taken as UTC."""
    if acquired.tzinfo is None:
        return acquired.replace(tzinfo=timezone.utc)
    return acquired.astimezone(timezone.utc)


def iso(acquired: datetime | None) -> str | None:
    """ISO 8601 in UTC, as in '2021-07-04T16:02:00Z'."""
    return None if acquired is None else utc(acquired).isoformat().replace("+00:00", "Z")


def place(hit: Hit) -> str:
    """The centre of the footprint for people, '77.0365°W, 38.8977°N', or '' without one."""
    footprint = geometry(hit)
    if footprint is None or footprint.is_empty:
        return ""
    lon, lat = footprint.centroid.x, footprint.centroid.y
    return f"{abs(lon):.4f}°{'EW'[lon < 0]}, {abs(lat):.4f}°{'NS'[lat < 0]}"


def scene_name(hit: Hit) -> str:
    """The last part of the scene's URI, which people know it by."""
    return PurePosixPath(hit.uri.split("?", 1)[0].replace("\\", "/")).name or hit.uri

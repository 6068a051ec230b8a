"""Hits as a GeoJSON FeatureCollection (RFC 7946), which QGIS opens as a layer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shapely import Polygon, total_bounds
from shapely.geometry import mapping
from shapely.geometry.polygon import orient

from dcsh_pg.results.record import geometry, records

if TYPE_CHECKING:
    from dcsh_pg.database.search import Hit


def to_geojson(hits: Sequence[Hit]) -> str:
    """A FeatureCollection, one feature a hit, in the order of the hits.

    A feature's ``id`` is the chip's id, its properties are the flat fields of the record.  Outer
    rings run counterclockwise (RFC 7946, 3.1.6); a hit without footprint has ``geometry`` null
    (3.2).  ``bbox`` is west, south, east, north.
    """
    footprints = [geometry(hit) for hit in hits]
    collection: dict[str, Any] = {"type": "FeatureCollection"}
    known = [footprint for footprint in footprints if footprint is not None]
    if known:
        collection["bbox"] = total_bounds(known).tolist()
    collection["features"] = [
        _feature(row, footprint) for row, footprint in zip(records(hits), footprints, strict=True)
    ]
    return json.dumps(collection, ensure_ascii=False) + "\n"


def _feature(row: dict[str, Any], footprint: Any) -> dict[str, Any]:
    feature: dict[str, Any] = {"type": "Feature", "id": row["id"]}
    if footprint is not None:
        feature["bbox"] = list(footprint.bounds)
        footprint = orient(footprint) if isinstance(footprint, Polygon) else footprint
    feature["geometry"] = None if footprint is None else mapping(footprint)
    feature["properties"] = row
    return feature

"""Rows as GeoJSON (RFC 7946): a FeatureCollection, or a sequence of features, one a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dcsh_pg.results.outputs import text_output
from dcsh_pg.results.record import Table, to_json_text

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


@text_output("geojson", ".geojson")
def to_geojson(table: Table) -> str:
    """A FeatureCollection, one feature a row, in the order of the rows.

    A feature's ``id`` is that of the row, where it has one; its properties are the row's columns.
    Outer rings run counterclockwise (RFC 7946, 3.1.6); a row without footprint has ``geometry``
    null (3.2).  ``bbox`` is west, south, east, north.
    """
    from shapely import total_bounds

    collection: dict[str, Any] = {"type": "FeatureCollection"}
    known = [footprint for footprint in table.footprints if footprint is not None]
    if known:
        collection["bbox"] = total_bounds(known).tolist()
    collection["features"] = list(_features(table))
    return to_json_text(collection) + "\n"


@text_output("geojsonseq", ".geojsonl")
def to_geojson_lines(table: Table) -> str:
    """One feature a line, as in :func:`to_geojson`: newline-delimited GeoJSON.

    What jq and ogr2ogr read line by line; GDAL recognises it by the suffix ``.geojsonl``.
    """
    return "".join(f"{to_json_text(feature)}\n" for feature in _features(table))


def _features(table: Table) -> Iterator[dict[str, Any]]:
    for record, footprint in zip(table.records, table.footprints, strict=True):
        feature: dict[str, Any] = {"type": "Feature"}
        if "id" in record:
            feature["id"] = record["id"]
        if footprint is not None:
            feature["bbox"] = list(footprint.bounds)
        feature["geometry"] = None if footprint is None else _oriented(footprint)
        feature["properties"] = record
        yield feature


def _oriented(footprint: BaseGeometry) -> dict[str, Any]:
    """As GeoJSON, outer rings counterclockwise."""
    from shapely import MultiPolygon, Polygon
    from shapely.geometry import mapping
    from shapely.geometry.polygon import orient

    if isinstance(footprint, Polygon):
        footprint = orient(footprint)
    elif isinstance(footprint, MultiPolygon):
        footprint = MultiPolygon([orient(polygon) for polygon in footprint.geoms])
    return mapping(footprint)

"""Rows as memory layers of polygons in EPSG:4326, styled by distance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qgis.core import (
    QgsFeature,
    QgsFields,
    QgsFillSymbol,
    QgsGeometry,
    QgsGraduatedSymbolRenderer,
    QgsRendererRange,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QDateTime, Qt

from .footprints import wkb

CRS = "EPSG:4326"
COLOURS = ("68,1,84", "65,68,135", "42,120,142", "34,168,132", "122,209,81", "253,231,37")
"""Viridis, nearest first."""

HIT = {
    "rank": "int",
    "distance": "int",
    "id": "int8",
    "acquired": "datetime",
    "uri": "string",
    "valid_fraction": "double",
    "scene_id": "int8",
    "col_off": "int",
    "row_off": "int",
    "width": "int",
    "height": "int",
}
"""Columns of a hit and their types as a memory layer's address names them."""


def memory_layer(name: str, columns: Mapping[str, str]) -> QgsVectorLayer:
    """An empty layer of polygons with these columns."""
    fields = "".join(f"&field={column}:{kind}" for column, kind in columns.items())
    return QgsVectorLayer(f"Polygon?crs={CRS}{fields}", name, "memory")


def fields_of(columns: Mapping[str, str]) -> QgsFields:
    """The fields of `memory_layer`, whose types do not depend on the version of Qt."""
    return memory_layer("fields", columns).fields()


def geometry(text: str | None) -> QgsGeometry:
    """A footprint as PostgreSQL prints it; null for None."""
    made = QgsGeometry()
    content = wkb(text)
    if content is not None:
        made.fromWkb(content)
    return made


def features(rows: Iterable[Mapping[str, Any]], fields: QgsFields) -> list[QgsFeature]:
    """Rows as features; their footprint is the column geom."""
    return [feature(row, fields, geometry(row["geom"])) for row in rows]


def feature(row: Mapping[str, Any], fields: QgsFields, place: QgsGeometry) -> QgsFeature:
    """A row as a feature at a place."""
    made = QgsFeature(fields)
    made.setGeometry(place)
    made.setAttributes([_value(row[field.name()], field.typeName()) for field in fields])
    return made


def _value(value: Any, kind: str) -> Any:
    if kind == "datetime" and value is not None:
        time = QDateTime.fromString(value, Qt.DateFormat.ISODate)  # invalid for 'infinity'
        return time if time.isValid() else None
    return value


def fill(layer: QgsVectorLayer, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replaces what a layer has by rows."""
    provider = layer.dataProvider()
    provider.truncate()
    provider.addFeatures(features(rows, layer.fields()))
    layer.updateExtents()
    layer.triggerRepaint()


def classes(distances: Sequence[int]) -> list[tuple[int, int]]:
    """At most six classes of whole distances, (first, last) each, that have all of these."""
    low, high = min(distances, default=0), max(distances, default=0)
    count = min(len(COLOURS), high - low + 1)
    bounds = [low + (high + 1 - low) * n // count for n in range(count + 1)]
    return [(first, end - 1) for first, end in zip(bounds, bounds[1:])]


def style_by_distance(layer: QgsVectorLayer, *, opaque: bool = False) -> None:
    """Colours footprints by their distance: outlines that leave imagery visible, or filled."""
    index = layer.fields().indexOf("distance")
    found = classes([row[index] for row in layer.getFeatures()])
    ranges = []
    for number, (first, last) in enumerate(found):
        colour = COLOURS[number * (len(COLOURS) - 1) // max(len(found) - 1, 1)]
        symbol = QgsFillSymbol.createSimple(
            {
                "color": f"{colour},{217 if opaque else 30}",
                "outline_color": colour,
                "outline_width": "0" if opaque else "0.8",
                "outline_style": "no" if opaque else "solid",
            }
        )
        label = f"{first} bits" if first == last else f"{first} to {last} bits"
        ranges.append(QgsRendererRange(first - 0.5, last + 0.5, symbol, label))
    layer.setRenderer(QgsGraduatedSymbolRenderer("distance", ranges))
    layer.triggerRepaint()

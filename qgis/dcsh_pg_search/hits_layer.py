"""The hits and the query of the dock as layers of the project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from qgis.core import QgsFillSymbol, QgsLayerTreeGroup, QgsProject, QgsVectorLayer

from . import layers

GROUP = "dcsh-pg"


class HitsLayer:
    """One layer that shows the hits of the newest search, made again where the user removed it."""

    def __init__(self, on_selection: Callable[..., None]) -> None:
        """`on_selection` is called when the selection of hits changes."""
        self._ids: dict[str, str] = {}
        self._on_selection = on_selection

    @property
    def layer(self) -> QgsVectorLayer | None:
        """The layer of hits, or None before the first search."""
        return self._find("hits")

    def show(self, caption: str, hits: Sequence[Mapping[str, Any]]) -> QgsVectorLayer:
        """Shows hits, coloured by distance."""
        layer = self._find("hits")
        if layer is None:
            layer = self._add("hits", layers.HIT)
            layer.selectionChanged.connect(self._on_selection)
        layer.setName(f"nearest to {caption}")
        layer.removeSelection()
        layers.fill(layer, hits)
        layers.style_by_distance(layer)
        return layer

    def show_query(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Outlines the chips or the region of the query."""
        if not rows and self._find("query") is None:
            return
        layer = self._find("query") or self._add("query", {"id": "int8"})
        layer.setName("query")
        style = {"color": "#00000000", "outline_color": "#d62728", "outline_width": "1"}
        layer.renderer().setSymbol(QgsFillSymbol.createSimple(style))
        layers.fill(layer, rows)

    def _find(self, role: str) -> QgsVectorLayer | None:
        return QgsProject.instance().mapLayer(self._ids.get(role, ""))

    def _add(self, role: str, columns: Mapping[str, str]) -> QgsVectorLayer:
        layer = layers.memory_layer(role, columns)
        layer.setCustomProperty("skipMemoryLayersCheck", 1)  # no question when QGIS ends
        QgsProject.instance().addMapLayer(layer, False)
        group().insertLayer(0, layer)
        self._ids[role] = layer.id()
        return layer


def group() -> QgsLayerTreeGroup:
    """The plugin's group of layers, made on first use above all others."""
    root = QgsProject.instance().layerTreeRoot()
    return root.findGroup(GROUP) or root.insertGroup(0, GROUP)

"""Places that the user points at, draws or selects on the map, in longitude and latitude."""

from __future__ import annotations

from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry, QgsPointXY, QgsRectangle
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import QObject, pyqtSignal
from qgis.PyQt.QtWidgets import QAbstractButton

from .. import places
from ..queries import InvalidInput
from .filter_box import DRAWN, EXTENT, SELECTED
from .map_tools import DrawTool, PickTool


class OnMap(QObject):
    """The map's tools, and what was pointed at with them."""

    picked = pyqtSignal(QgsPointXY)
    region_drawn = pyqtSignal(str)
    area_drawn = pyqtSignal()
    failed = pyqtSignal(str)

    def __init__(self, iface: QgisInterface, pick_button: QAbstractButton):
        super().__init__()
        self._iface = iface
        self._drawn: str | None = None
        canvas = iface.mapCanvas()
        self._pick, self._region, self._filter = (
            PickTool(canvas),
            DrawTool(canvas),
            DrawTool(canvas),
        )
        self._pick.setButton(pick_button)
        self._pick.canvasClicked.connect(lambda point, _button: self._on_pick(point, self._crs()))
        self._region.drawn.connect(self._on_region)
        self._filter.drawn.connect(self._on_area)

    def end(self) -> None:
        """Gives the map back the tool that it had."""
        for tool in (self._pick, self._region, self._filter):
            self._iface.mapCanvas().unsetMapTool(tool)
        self._region.clear()
        self._filter.clear()

    def pick(self) -> None:
        """Lets the user point at a place."""
        self._iface.mapCanvas().setMapTool(self._pick)

    def draw_region(self) -> None:
        """Lets the user draw the region that is asked for."""
        self._iface.mapCanvas().setMapTool(self._region)

    def draw_area(self) -> None:
        """Lets the user draw the area of the filter."""
        self._iface.mapCanvas().setMapTool(self._filter)

    def pick_selected(self) -> None:
        """Takes a point of the selected feature as the place pointed at."""
        chosen = self._selected()
        if not chosen:
            return self.failed.emit(self.tr("select a feature of the active layer first"))
        self._on_pick(chosen[0].pointOnSurface().asPoint(), self._iface.activeLayer().crs())

    def take_selected(self) -> None:
        """Takes the selected polygons as the region drawn."""
        try:
            self.region_drawn.emit(self._selected_wkt())
        except InvalidInput as error:
            self.failed.emit(str(error))

    def area(self, kind: int) -> str | None:
        """The area of a filter as WKT, None for everywhere.

        Raises:
            InvalidInput: it is not drawn or selected, or cannot be transformed.
        """
        if kind == EXTENT:
            return places.extent_wkt(self._iface.mapCanvas().extent(), self._crs())
        if kind == SELECTED:
            return self._selected_wkt()
        if kind == DRAWN and self._drawn is None:
            raise InvalidInput(self.tr("draw the filter's polygon on the map first"))
        return self._drawn if kind == DRAWN else None

    def zoom_to(self, bounds: QgsRectangle) -> None:
        """Moves the map to bounds in EPSG:4326 if it shows nothing of them."""
        canvas = self._iface.mapCanvas()
        try:
            shown = places.extent_on_map(bounds, self._crs())
        except InvalidInput:
            return
        if not canvas.extent().intersects(shown):
            canvas.setExtent(shown)
            canvas.refresh()

    def _crs(self) -> QgsCoordinateReferenceSystem:
        return self._iface.mapCanvas().mapSettings().destinationCrs()

    def _selected(self) -> list[QgsGeometry]:
        layer = self._iface.activeLayer()
        chosen = layer.selectedFeatures() if hasattr(layer, "selectedFeatures") else []
        return [row.geometry() for row in chosen if not row.geometry().isNull()]

    def _selected_wkt(self) -> str:
        chosen = self._selected()
        if not chosen:
            raise InvalidInput(self.tr("select polygons of the active layer first"))
        return places.area_wkt(chosen, self._iface.activeLayer().crs())

    def _on_pick(self, point: QgsPointXY, crs: QgsCoordinateReferenceSystem) -> None:
        try:
            self.picked.emit(places.lonlat(point, crs))
        except InvalidInput as error:
            self.failed.emit(str(error))

    def _on_region(self, polygon: QgsGeometry) -> None:
        try:
            self.region_drawn.emit(places.area_wkt([polygon], self._crs()))
        except InvalidInput as error:
            self.failed.emit(str(error))

    def _on_area(self, polygon: QgsGeometry) -> None:
        try:
            self._drawn = places.area_wkt([polygon], self._crs())
            self.area_drawn.emit()
        except InvalidInput as error:
            self.failed.emit(str(error))

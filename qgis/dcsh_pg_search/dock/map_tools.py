"""Tools with which the user points at a place or draws an area on the map."""

from __future__ import annotations

from qgis.core import QgsGeometry, QgsWkbTypes
from qgis.gui import QgsMapCanvas, QgsMapMouseEvent, QgsMapTool, QgsMapToolEmitPoint, QgsRubberBand
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor

INK = QColor(214, 39, 40)


class PickTool(QgsMapToolEmitPoint):
    """Emits the place of a click, `canvasClicked`."""


class DrawTool(QgsMapTool):
    """Draws a polygon: each click is a corner, a right click or Enter ends it, Escape starts anew."""

    drawn = pyqtSignal(QgsGeometry)

    def __init__(self, canvas: QgsMapCanvas):
        super().__init__(canvas)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self._band = QgsRubberBand(canvas, QgsWkbTypes.GeometryType.PolygonGeometry)
        self._band.setStrokeColor(INK)
        self._band.setFillColor(QColor(214, 39, 40, 30))
        self._band.setWidth(2)
        self._corners = 0

    def canvasPressEvent(self, event: QgsMapMouseEvent) -> None:
        if event.button() == Qt.MouseButton.RightButton:
            self._finish()
        elif event.button() == Qt.MouseButton.LeftButton:
            if not self._corners:
                self.clear()
            self._band.addPoint(event.mapPoint())
            self._corners += 1

    def canvasMoveEvent(self, event: QgsMapMouseEvent) -> None:
        if self._corners:
            self._band.movePoint(event.mapPoint())

    def keyPressEvent(self, event) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._finish()
        elif event.key() == Qt.Key.Key_Escape:
            self.clear()

    def clear(self) -> None:
        """Removes what is drawn."""
        self._band.reset(QgsWkbTypes.GeometryType.PolygonGeometry)
        self._corners = 0

    def _finish(self) -> None:
        enough = self._corners >= 3
        self._corners = 0
        if enough:
            self.drawn.emit(self._band.asGeometry())
        else:
            self.clear()

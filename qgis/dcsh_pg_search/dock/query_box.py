"""What to search for: a chip, a region, a code or a picture."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.gui import QgsFileWidget, QgsFilterLineEdit
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QButtonGroup,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

PICTURES = "*.png *.jpg *.jpeg *.tif *.tiff *.jp2 *.webp *.bmp"


class QueryBox(QWidget):
    """Four kinds of query, one in view."""

    pick = pyqtSignal()
    draw = pyqtSignal()
    selected_chip = pyqtSignal()
    selected_region = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.kinds = QButtonGroup(self)
        self.pages = QStackedWidget()
        bar = QHBoxLayout()
        bar.setSpacing(0)
        for title, icon, page in (
            (self.tr("Chip"), "/cursors/mIdentify.svg", self._chip_page()),
            (self.tr("Region"), "/mActionAddPolygon.svg", self._region_page()),
            (self.tr("Code"), "/mIconFieldBinary.svg", self._code_page()),
            (self.tr("Picture"), "/mIconRaster.svg", self._file_page()),
        ):
            button = QToolButton()
            button.setText(title)
            button.setIcon(QgsApplication.getThemeIcon(icon))
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setCheckable(True)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            self.kinds.addButton(button, self.pages.addWidget(page))
            bar.addWidget(button)
        self.kinds.button(0).setChecked(True)
        self.kinds.idClicked.connect(self.pages.setCurrentIndex)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(bar)
        layout.addWidget(self.pages)

    def _chip_page(self) -> QWidget:
        self.pick_button = QPushButton(self.tr("Point at the map"))
        self.pick_button.setToolTip(self.tr("Search for chips similar to the one that you click"))
        self.pick_button.setCheckable(True)
        self.pick_button.clicked.connect(lambda _checked: self.pick.emit())
        selected = QPushButton(self.tr("Selected feature"))
        selected.setToolTip(self.tr("The chip at the selected feature of the active layer"))
        selected.clicked.connect(lambda _checked: self.selected_chip.emit())
        self.chip = QgsFilterLineEdit()
        self.chip.setPlaceholderText(self.tr("chip id"))
        self.chip.setMaximumWidth(90)
        return _row(self.pick_button, selected, self.chip)

    def _region_page(self) -> QWidget:
        self.draw_button = QPushButton(self.tr("Draw on the map"))
        self.draw_button.setToolTip(self.tr("Click the corners; a right click ends the polygon"))
        self.draw_button.setCheckable(True)
        self.draw_button.clicked.connect(lambda _checked: self.draw.emit())
        selected = QPushButton(self.tr("Selected polygons"))
        selected.clicked.connect(lambda _checked: self.selected_region.emit())
        return _row(self.draw_button, selected)

    def _code_page(self) -> QWidget:
        self.code = QgsFilterLineEdit()
        self.code.setPlaceholderText("0x9f3a5c0017e2b481")
        return _row(self.code)

    def _file_page(self) -> QWidget:
        self.file = QgsFileWidget()
        self.file.setFilter(
            self.tr("Pictures") + f" ({PICTURES});;" + self.tr("All files") + " (*)"
        )
        return _row(self.file)


def _row(*widgets: QWidget) -> QWidget:
    page = QWidget()
    layout = QHBoxLayout(page)
    layout.setContentsMargins(0, 4, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return page

"""Which chips are searched."""

from __future__ import annotations

from qgis.gui import QgsCollapsibleGroupBox, QgsDateTimeEdit, QgsFilterLineEdit
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QFormLayout, QSpinBox

from ..conditions import cql2
from ..queries import Filter

EVERYWHERE, EXTENT, DRAWN, SELECTED = range(4)


class FilterBox(QgsCollapsibleGroupBox):
    """Area, time, distance and properties of the scene."""

    draw = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.setTitle(self.tr("Filter"))
        self.setCollapsed(True)
        self.area = QComboBox()
        self.area.addItems(
            [
                self.tr("Whole archive"),
                self.tr("Map extent"),
                self.tr("Drawn polygon"),
                self.tr("Selected polygons"),
            ]
        )
        self.area.activated.connect(self._on_area)
        self.since, self.until = _date(), _date()
        self.since.setToolTip(self.tr("Acquired on this day or later, UTC"))
        self.until.setToolTip(self.tr("Acquired before this day, UTC"))
        self.max_distance = QSpinBox()
        self.max_distance.setRange(-1, 1024)
        self.max_distance.setValue(-1)
        self.max_distance.setSpecialValueText(self.tr("any"))
        self.max_distance.setSuffix(self.tr(" bits"))
        self.where = QgsFilterLineEdit()
        self.where.setPlaceholderText('"gsd" <= 0.5 AND "platform" = \'a\'')
        self.where.setToolTip(self.tr("Condition on the properties of the scene"))
        form = QFormLayout(self)
        form.addRow(self.tr("Area"), self.area)
        form.addRow(self.tr("Since"), self.since)
        form.addRow(self.tr("Before"), self.until)
        form.addRow(self.tr("Distance up to"), self.max_distance)
        form.addRow(self.tr("Where"), self.where)

    def filter(self, area: str | None) -> Filter:
        """The filter, with an area in WKT.

        Raises:
            InvalidInput: the condition cannot be read.
        """
        distance = self.max_distance.value()
        return Filter(
            area=area,
            since=_day(self.since),
            until=_day(self.until),
            max_distance=None if distance < 0 else distance,
            where=cql2(self.where.text()),
        )

    def _on_area(self, index: int) -> None:
        if index == DRAWN:
            self.draw.emit()


def _date() -> QgsDateTimeEdit:
    made = QgsDateTimeEdit()
    made.setDisplayFormat("yyyy-MM-dd")
    made.setAllowNull(True)
    made.clear()
    return made


def _day(edit: QgsDateTimeEdit) -> str | None:
    return None if edit.isNull() else edit.date().toString("yyyy-MM-dd") + "T00:00:00Z"

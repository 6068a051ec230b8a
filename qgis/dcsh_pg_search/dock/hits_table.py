"""The hits as a table with marks, linked with the selection of their layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable

from qgis.PyQt.QtCore import QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QIcon, QImage, QKeyEvent, QPixmap
from qgis.PyQt.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from ..addresses import title

THUMBNAIL = 56
"""Pixels."""

PICTURE, DISTANCE, ACQUIRED, SCENE = range(4)
RIGHT, WRONG = QColor(34, 168, 132, 70), QColor(214, 39, 40, 60)


class HitsTable(QTableWidget):
    """A row a hit, in the order of the search; + and - mark the selected rows."""

    marked = pyqtSignal(list, object)
    chosen = pyqtSignal(list)
    opened = pyqtSignal(object)

    def __init__(self) -> None:
        super().__init__(0, 4)
        self.setHorizontalHeaderLabels(
            [self.tr("Hit"), self.tr("Distance"), self.tr("Acquired"), self.tr("Scene")]
        )
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.setWordWrap(False)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(THUMBNAIL + 4)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(SCENE, QHeaderView.ResizeMode.Stretch)
        self._chips: list[int] = []
        self.itemSelectionChanged.connect(lambda: self.chosen.emit(self.selected()))
        self.cellDoubleClicked.connect(lambda row, _column: self.opened.emit(self._chips[row]))

    def show_hits(self, hits: Sequence[Mapping[str, Any]]) -> None:
        """Shows hits in place of those before."""
        self.blockSignals(True)
        self.clearSelection()
        self.setRowCount(len(hits))
        self._chips = [hit["id"] for hit in hits]
        for row, hit in enumerate(hits):
            picture = QTableWidgetItem()
            picture.setData(Qt.ItemDataRole.AccessibleTextRole, f"chip {hit['id']}")
            self.setItem(row, PICTURE, picture)
            self.setItem(row, DISTANCE, QTableWidgetItem(f"{hit['distance']} bits"))
            self.setItem(row, ACQUIRED, QTableWidgetItem((hit["acquired"] or "")[:10]))
            self.setItem(row, SCENE, QTableWidgetItem(title(hit["uri"])))
        self.blockSignals(False)
        if hits:
            self.scrollToTop()

    def show_picture(self, chip: int, picture: QImage) -> None:
        """Shows the picture of a chip, if it is still a hit."""
        if chip in self._chips:
            icon = QIcon(QPixmap.fromImage(picture))
            self.item(self._chips.index(chip), PICTURE).setIcon(icon)

    def show_marks(self, mark_of: Callable[[int], object]) -> None:
        """Colours and labels the rows that are marked."""
        for row, chip in enumerate(self._chips):
            mark = mark_of(chip)
            sign = "" if mark is None else "✓" if mark else "✗"
            self.item(row, PICTURE).setText(sign)
            for column in range(self.columnCount()):
                item = self.item(row, column)
                if mark is None:
                    item.setData(Qt.ItemDataRole.BackgroundRole, None)
                else:
                    item.setBackground(RIGHT if mark else WRONG)

    def selected(self) -> list[int]:
        """The chips of the selected rows, in order."""
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [self._chips[row] for row in rows]

    def select(self, chips: Iterable[int]) -> None:
        """Selects the rows of chips without a signal."""
        chosen = set(chips)
        if chosen == set(self.selected()):
            return
        self.blockSignals(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.MultiSelection)
        self.clearSelection()
        for row, chip in enumerate(self._chips):
            if chip in chosen:
                self.selectRow(row)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.blockSignals(False)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        marks = {"+": True, "-": False, "0": None}
        if event.text() in marks and self.selected():
            self.marked.emit(self.selected(), marks[event.text()])
        else:
            super().keyPressEvent(event)

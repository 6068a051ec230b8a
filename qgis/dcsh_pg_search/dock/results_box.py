"""The hits, their marks, and the next round."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ..rounds import Rounds
from .hits_table import HitsTable

SCENES = 8
"""Scenes shown as imagery, unless the user says otherwise."""


class ResultsBox(QWidget):
    """The table of hits and the buttons below it."""

    again = pyqtSignal()
    undo = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.table = HitsTable()
        self.right = self._mark_button("✓", self.tr("Right"), "+", True)
        self.wrong = self._mark_button("✗", self.tr("Wrong"), "-", False)
        self.none = self._mark_button("", self.tr("Clear"), "0", None)
        self.undo_button = QToolButton()
        self.undo_button.setIcon(QgsApplication.getThemeIcon("/mActionUndo.svg"))
        self.undo_button.setToolTip(self.tr("Undo the last mark or search"))
        self.undo_button.setEnabled(False)
        self.undo_button.clicked.connect(lambda _checked: self.undo.emit())
        self.again_button = QPushButton(self.tr("Search again"))
        self.again_button.setEnabled(False)
        self.again_button.clicked.connect(lambda _checked: self.again.emit())
        self.marks = QLabel()
        self.imagery = QCheckBox(self.tr("Imagery below the hits, at most"))
        self.imagery.setToolTip(
            self.tr(
                "Reads the pictures of the hits, and shows the scenes of the first as raster layers"
            )
        )
        self.imagery.setChecked(True)
        self.scenes = QSpinBox()
        self.scenes.setRange(1, 100)
        self.scenes.setValue(SCENES)
        self.scenes.setSuffix(self.tr(" scenes"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table, 1)
        layout.addLayout(_line(self.right, self.wrong, self.none, None, self.undo_button))
        layout.addLayout(_line(self.marks, None, self.again_button))
        layout.addLayout(_line(self.imagery, self.scenes, None))

    def show_rounds(self, rounds: Rounds) -> None:
        """Shows what is marked, and which steps there are."""
        self.table.show_marks(rounds.mark_of)
        right, wrong = len(rounds.now.right), len(rounds.now.wrong)
        self.marks.setText(self.tr("{} right, {} wrong").format(right, wrong))
        self.undo_button.setEnabled(rounds.can_undo)
        self.again_button.setEnabled(rounds.next_query() is not None)

    def _mark_button(self, sign: str, title: str, key: str, is_right: bool | None) -> QToolButton:
        made = QToolButton()
        made.setText(f"{sign} {title}".strip())
        made.setToolTip(self.tr("Mark the selected hits (key {})").format(key))
        made.clicked.connect(
            lambda _checked: self.table.marked.emit(self.table.selected(), is_right)
        )
        return made


def _line(*widgets: QWidget | None) -> QHBoxLayout:
    """Widgets in a row; None is room between them."""
    made = QHBoxLayout()
    for widget in widgets:
        if widget is None:
            made.addStretch(1)
        else:
            made.addWidget(widget)
    return made

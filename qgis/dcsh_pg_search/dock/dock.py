"""The dock: a query, a filter, the hits, and what the user says of them."""

from __future__ import annotations

from functools import partial

from qgis.core import (
    QgsApplication,
    QgsFeedback,
    QgsPointXY,
    QgsRectangle,
)
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import (
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from .. import connection, picture, search, statements
from ..hits_layer import HitsLayer
from ..queries import ChipQuery, CodeQuery, InvalidInput, Query, RegionQuery
from ..rounds import Rounds
from ..search import Found, Resolve
from ..task import Work
from .filter_box import FilterBox
from .imagery_loader import ImageryLoader
from .on_map import OnMap
from .query_box import QueryBox
from .results_box import ResultsBox
from .source_box import SourceBox

CHIP, REGION, CODE, PICTURE = range(4)


class SearchDock(QDockWidget):
    """Searches an archive by example."""

    def __init__(self, iface: QgisInterface):
        super().__init__("dcsh-pg")
        self.setObjectName("dcsh_pg_search_dock")
        self.iface = iface
        self.rounds = Rounds()
        self.hits_layer = HitsLayer(self._select_in_table)
        self.work: Work | None = None
        self.imagery = ImageryLoader()
        self._build()
        self._connect()

    def showEvent(self, event) -> None:
        super().showEvent(event)
        if not self.source.connections.count():
            self.source.reload()

    # What it looks like

    def _build(self) -> None:
        self.source, self.query, self.filter = SourceBox(), QueryBox(), FilterBox()
        self.results = ResultsBox()
        self.k = QSpinBox()
        self.k.setRange(1, 10000)
        self.k.setValue(50)
        self.k.setSuffix(self.tr(" hits"))
        self.search_button = QPushButton(self.tr("Search"))
        self.search_button.setDefault(True)
        self.cancel_button = QPushButton(self.tr("Cancel"))
        self.cancel_button.hide()
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.busy.setTextVisible(False)
        self.busy.setMaximumHeight(6)
        self.busy.hide()
        self.status = QLabel()
        self.status.setTextFormat(Qt.TextFormat.PlainText)  # has text of the database
        self.status.setWordWrap(True)
        go = QHBoxLayout()
        go.addWidget(self.k)
        go.addWidget(self.search_button, 1)
        go.addWidget(self.cancel_button, 1)
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.addWidget(self.source)
        layout.addWidget(self.query)
        layout.addWidget(self.filter)
        layout.addLayout(go)
        layout.addWidget(self.busy)
        layout.addWidget(self.status)
        layout.addWidget(self.results, 1)
        self.setWidget(body)

    def _connect(self) -> None:
        self.on_map = OnMap(self.iface, self.query.pick_button)
        self.on_map.picked.connect(self._search_at)
        self.on_map.region_drawn.connect(lambda wkt: self.start(RegionQuery(wkt)))
        self.on_map.area_drawn.connect(lambda: self.say(self.tr("the area is drawn; search")))
        self.on_map.failed.connect(self.fail)
        self.query.pick.connect(self.on_map.pick)
        self.query.draw.connect(self.on_map.draw_region)
        self.query.selected_chip.connect(self.on_map.pick_selected)
        self.query.selected_region.connect(self.on_map.take_selected)
        self.filter.draw.connect(self._draw_area)
        self.imagery.picture.connect(self.results.table.show_picture)
        self.imagery.done.connect(self._on_imagery)
        self.source.failed.connect(self.fail)
        self.source.archive_changed.connect(self._on_archive)
        self.search_button.clicked.connect(lambda _checked: self._search_form())
        self.cancel_button.clicked.connect(lambda _checked: self.cancel())
        self.results.table.marked.connect(self._mark)
        self.results.table.chosen.connect(self._select_on_map)
        self.results.table.opened.connect(lambda chip: self.start(ChipQuery(chip)))
        self.results.again.connect(self._search_again)
        self.results.undo.connect(self._undo)

    def say(self, text: str) -> None:
        """Shows a line of state."""
        self.status.setStyleSheet("")
        self.status.setText(text)

    def fail(self, text: str) -> None:
        """Shows a line of what went wrong, as the database or the user's input has it."""
        self.status.setStyleSheet("color: #c0392b")
        self.status.setText(text)

    # What is asked

    def _search_form(self) -> None:
        """The query of the page in view."""
        kind = self.query.pages.currentIndex()
        if kind == CHIP and self.query.chip.text().strip().isdigit():
            self.start(ChipQuery(int(self.query.chip.text())))
        elif kind == CODE and self.query.code.text().strip():
            self.start(CodeQuery(self.query.code.text()))
        elif kind == PICTURE and self.query.file.filePath():
            self.start_with(partial(picture.hashed, self.query.file.filePath()))
        elif self.rounds.now.query is not None and kind in (CHIP, REGION):
            self.start(self.rounds.now.query)  # with the filter as it is now
        else:
            self.fail(
                self.tr("say what to search for: point at a chip, draw a region, or give a code")
            )

    def _search_at(self, place: QgsPointXY) -> None:
        self.start_with(partial(search.chip_at, place.x(), place.y()))

    def _search_again(self) -> None:
        query = self.rounds.next_query()
        if query is not None:
            self.start(query)

    def start(self, query: Query) -> None:
        """Searches with a query that is known."""
        self.start_with(lambda *_place: query)

    def start_with(self, resolve: Resolve, *, is_undo: bool = False) -> None:
        """Searches with a query that is made off the main thread."""
        archive, where = self.source.archive, self.source.connection
        if archive is None or where is None:
            return self.fail(self.tr("choose a connection and an archive first"))
        try:
            filter = self.filter.filter(self.on_map.area(self.filter.area.currentIndex()))
        except InvalidInput as error:
            return self.fail(str(error))
        k = self.k.value()

        def run(feedback: QgsFeedback) -> Found:
            return search.find(where, archive, resolve, filter, k, feedback)

        self._run(
            Work(self.tr("Searching {}").format(archive.name), run), partial(self._show, is_undo)
        )

    # Work off the main thread

    def _run(self, work: Work, show) -> None:
        self.cancel()
        self.work = work
        work.done.connect(partial(self._end, work, show))
        work.failed.connect(partial(self._end, work, self.fail))
        work.cancelled.connect(partial(self._end, work, lambda: self.say(self.tr("cancelled"))))
        self.imagery.cancel()
        self._show_busy(True)
        self.say(self.tr("searching…"))
        QgsApplication.taskManager().addTask(work)

    def end(self) -> None:
        """Ends all that the dock has begun."""
        self.cancel()
        self.imagery.cancel()
        self.on_map.end()

    def cancel(self) -> None:
        """Cancels the search that runs, on the server too."""
        if self.work is not None:
            self.work.cancel()

    def _end(self, work: Work, show, *answer) -> None:
        if work is self.work:  # not one that a newer search took the place of
            self.work = None
            self._show_busy(False)
            show(*answer)

    def _show_busy(self, is_busy: bool) -> None:
        self.busy.setVisible(is_busy)
        self.cancel_button.setVisible(is_busy)
        self.search_button.setVisible(not is_busy)

    # What is found

    def _show(self, is_undo: bool, found: Found) -> None:
        if not is_undo and found.query != self.rounds.now.query:
            self.rounds.ask(found.query)
        self.hits_layer.show(found.query.caption, found.hits)
        self.hits_layer.show_query(found.examples)
        self.results.table.show_hits(found.hits)
        self.results.show_rounds(self.rounds)
        count = len(found.hits)
        if not count:
            return self.say(
                self.tr("nothing matches; allow a greater distance or clear the filter")
            )
        near, far = found.hits[0]["distance"], found.hits[-1]["distance"]
        text = self.tr("{} nearest to {}, {} to {} of {} bits")
        bits = self.source.archive.bits if self.source.archive else 0
        self.say(text.format(count, found.query.caption, near, far, bits))
        if self.results.imagery.isChecked():
            self.imagery.start(found.hits, self.results.scenes.value())

    def _on_imagery(self, unread: int) -> None:
        if unread:
            text = self.tr("; the imagery of {} scenes cannot be read from here")
            self.say(self.status.text() + text.format(unread))

    def _select_on_map(self, chips: list) -> None:
        layer = self.hits_layer.layer
        if layer is not None:
            chosen = set(chips)
            layer.selectByIds([row.id() for row in layer.getFeatures() if row["id"] in chosen])

    def _select_in_table(self, *_changes) -> None:
        layer = self.hits_layer.layer
        if layer is not None:
            self.results.table.select(row["id"] for row in layer.selectedFeatures())

    def _mark(self, chips: list, is_right: object) -> None:
        self.rounds.mark(chips, is_right)
        self.results.show_rounds(self.rounds)

    def _undo(self) -> None:
        before = self.rounds.now.query
        if self.rounds.undo():
            self.results.show_rounds(self.rounds)
            query = self.rounds.now.query
            if query is not None and query != before:
                self.start_with(lambda *_place: query, is_undo=True)

    def _draw_area(self) -> None:
        self.on_map.draw_area()
        self.say(self.tr("click the corners of the area; a right click ends it"))

    def _on_archive(self) -> None:
        """Another archive: shows where it is, and forgets the marks of the one before."""
        self.rounds = Rounds()
        self.results.table.show_hits([])
        self.results.show_rounds(self.rounds)
        archive, where = self.source.archive, self.source.connection
        if archive is None or where is None:
            return
        text = self.tr("{:,} chips of {:,} scenes, codes of {} bits; point at a chip to start")
        self.say(text.format(archive.chips, archive.scenes, archive.bits))

        def run(feedback: QgsFeedback) -> dict:
            return connection.rows(where, statements.extent(archive), feedback)[0]

        self._where = Work(self.tr("Locating {}").format(archive.name), run)
        self._where.done.connect(self._zoom)
        QgsApplication.taskManager().addTask(self._where)

    def _zoom(self, bounds: dict) -> None:
        if bounds["west"] is None:
            return
        sides = (bounds[side] for side in ("west", "south", "east", "north"))
        self.on_map.zoom_to(QgsRectangle(*sides))

"""Which connection and which archive."""

from __future__ import annotations

from functools import partial

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QToolButton, QWidget

from ..connection import Connection, DatabaseError, archives, names, stored
from ..queries import Archive
from ..task import Work

SETTING = "dcsh_pg_search/connection"


class SourceBox(QWidget):
    """A connection stored in QGIS, and an archive of its database."""

    archive_changed = pyqtSignal()
    failed = pyqtSignal(str)

    def __init__(self) -> None:
        super().__init__()
        self.connections = QComboBox()
        self.archives = QComboBox()
        self._work: Work | None = None
        self._connection: Connection | None = None
        reload = QToolButton()
        reload.setIcon(QgsApplication.getThemeIcon("/mActionRefresh.svg"))
        reload.setToolTip(self.tr("Read the connections and archives again"))
        reload.setAutoRaise(True)
        first = QHBoxLayout()
        first.addWidget(self.connections, 1)
        first.addWidget(reload)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow(self.tr("Connection"), first)
        form.addRow(self.tr("Archive"), self.archives)
        reload.clicked.connect(self.reload)
        self.connections.currentTextChanged.connect(self._list_archives)
        self.archives.currentIndexChanged.connect(lambda _index: self.archive_changed.emit())

    @property
    def connection(self) -> Connection | None:
        """The connection whose archives are listed."""
        return self._connection

    @property
    def archive(self) -> Archive | None:
        return self.archives.currentData()

    def reload(self) -> None:
        """Lists the connections, then the archives of the one that was used last."""
        found = names()
        last = self.connections.currentText() or QgsSettings().value(SETTING, "")
        self.connections.blockSignals(True)
        self.connections.clear()
        self.connections.addItems(found)
        self.connections.setCurrentIndex(max(found.index(last) if last in found else 0, 0))
        self.connections.blockSignals(False)
        if not found:
            self.failed.emit(
                self.tr("add a PostgreSQL connection in QGIS's browser, then reload the list")
            )
        self._list_archives(self.connections.currentText())

    def _list_archives(self, name: str) -> None:
        self.archives.clear()
        if self._work is not None:
            self._work.done.disconnect()
            self._work.failed.disconnect()
            self._work.cancel()
            self._work = None
        if not name:
            return
        try:
            self._connection = stored(name)
        except DatabaseError as error:
            return self.failed.emit(str(error))
        self._work = Work(self.tr("Listing archives"), partial(archives, self._connection))
        self._work.done.connect(self._show)
        self._work.failed.connect(self._fail)
        QgsApplication.taskManager().addTask(self._work)

    def _show(self, found: list[Archive]) -> None:
        self._work = None
        QgsSettings().setValue(SETTING, self.connections.currentText())
        for archive in found:
            self.archives.addItem(archive.name, archive)
        if not found:
            self.failed.emit(self.tr("the database has no archive yet; 'dcsh-pg ingest' makes one"))

    def _fail(self, message: str) -> None:
        self._work = None
        self.failed.emit(message)

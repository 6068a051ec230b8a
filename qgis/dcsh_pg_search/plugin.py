"""The plugin: a dock, and algorithms in the toolbox."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon

from .algorithms.provider import ICON, Provider
from .dock.dock import SearchDock

MENU = "dcsh-pg"


class Plugin:
    """What QGIS starts and stops."""

    def __init__(self, iface: QgisInterface):
        self.iface = iface
        self.dock: SearchDock | None = None
        self.provider: Provider | None = None

    def initProcessing(self) -> None:
        """The algorithms, also for qgis_process."""
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        self.initProcessing()
        self.dock = SearchDock(self.iface)
        self.iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.dock.hide()
        self.action = self.dock.toggleViewAction()
        self.action.setIcon(QIcon(ICON))
        self.action.setText("dcsh-pg")
        self.action.setToolTip(self.dock.tr("Search an imagery archive by example"))
        self.iface.addToolBarIcon(self.action)
        self.iface.addPluginToDatabaseMenu(MENU, self.action)

    def unload(self) -> None:
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
        if self.dock is not None:
            self.dock.end()
            self.iface.removeToolBarIcon(self.action)
            self.iface.removePluginDatabaseMenu(MENU, self.action)
            self.iface.removeDockWidget(self.dock)
            self.dock.deleteLater()
            self.dock = None

"""QGIS without its main window: a canvas, a stored connection, and the plugin as QGIS loads it."""

import os
import sys
import time
from pathlib import Path
from traceback import format_exception

import qgis.utils
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsProject,
    QgsProviderRegistry,
    QgsRectangle,
)
from qgis.gui import QgsMapCanvas, QgsMessageBar
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QMainWindow

PLUGIN = "dcsh_pg_search"
CONNECTION = "maps"


class Interface:
    """The part of QgisInterface that a plugin with a dock uses."""

    def __init__(self):
        self.window = QMainWindow()
        self.canvas = QgsMapCanvas(self.window)
        self.canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
        self.window.setCentralWidget(self.canvas)
        self.window.resize(1100, 760)
        self.bar = QgsMessageBar(self.window)
        self.icons = []
        self.active = None

    def mapCanvas(self):
        return self.canvas

    def mainWindow(self):
        return self.window

    def messageBar(self):
        return self.bar

    def activeLayer(self):
        return self.active

    def addDockWidget(self, area, dock):
        self.window.addDockWidget(area, dock)

    def removeDockWidget(self, dock):
        self.window.removeDockWidget(dock)

    def addToolBarIcon(self, action):
        self.icons.append(action)

    def removeToolBarIcon(self, action):
        self.icons.remove(action)

    def addPluginToDatabaseMenu(self, menu, action):
        self.icons.append(action)

    def removePluginDatabaseMenu(self, menu, action):
        self.icons.remove(action)


class World:
    def __init__(self, dsn, profile, pictures):
        self.pictures = pictures and Path(pictures)
        self._uncaught = []
        sys.excepthook = lambda *error: self._uncaught.append("".join(format_exception(*error)))
        self.application = QgsApplication([], True, profile)
        self.application.initQgis()
        self.iface = qgis.utils.iface = Interface()
        self.provider = QgsProviderRegistry.instance().providerMetadata("postgres")
        self.dsn = dsn
        self.store(CONNECTION, dsn)
        system = Path(QgsApplication.pkgDataPath()) / "python" / "plugins"
        own = Path(profile) / "python" / "plugins"
        sys.path[:0] = [str(own), str(system)]
        qgis.utils.plugin_paths = [str(own), str(system)]
        from processing.core.Processing import Processing

        Processing.initialize()
        qgis.utils.updateAvailablePlugins()
        assert PLUGIN in qgis.utils.available_plugins
        assert qgis.utils.loadPlugin(PLUGIN), "not loaded"
        assert qgis.utils.startPlugin(PLUGIN), "not started"
        self.plugin = qgis.utils.plugins[PLUGIN]
        self.dock = self.plugin.dock
        self.iface.window.show()
        self.sql = self.provider.createConnection(dsn, {}).executeSql

    def store(self, name, dsn):
        self.provider.saveConnection(
            self.provider.createConnection(dsn, {"saveUsername": True, "savePassword": True}), name
        )

    def uncaught(self):
        """Exceptions that left slots since the last call, or None."""
        found, self._uncaught[:] = "\n".join(self._uncaught), []
        return found or None

    def end(self):
        """Ends QGIS as its user does, plugin and all."""
        assert qgis.utils.unloadPlugin(PLUGIN)
        QgsProject.instance().clear()
        sys.stdout.flush()
        os._exit(0)  # without the main window the order in which Qt's parts end is not QGIS's

    def wait(self, is_done, what, seconds=30):
        end = time.monotonic() + seconds
        while not is_done():
            assert time.monotonic() < end, f"waited in vain for {what}: {self.dock.status.text()}"
            QgsApplication.processEvents()
            time.sleep(0.005)

    def settle(self):
        """Waits until the dock's search has ended."""
        self.wait(lambda: self.dock.work is None, "the search")

    def fresh(self, connection=CONNECTION):
        """The dock as after opening it, on the archive of the stored connection."""
        self.settle()
        dock = self.dock
        dock.show()
        dock.source.connections.clear()
        dock.source.reload()
        dock.source.connections.setCurrentText(connection)
        self.wait(lambda: dock.source.archive is not None, "the archives")
        dock.filter.area.setCurrentIndex(0)
        dock.filter.max_distance.setValue(-1)
        dock.filter.where.clear()
        dock.filter.since.clear()
        dock.filter.until.clear()
        dock.k.setValue(12)
        self.press(dock.query.kinds.button(0))
        west, south, east, north = self.sql(
            "SELECT west, south, east, north FROM dcsh.extent('places')"
        )[0]
        self.look_at(float(west), float(south), float(east), float(north))
        return dock

    def look_at(self, *bounds):
        from dcsh_pg_search.places import extent_on_map

        crs = self.iface.canvas.mapSettings().destinationCrs()
        self.iface.canvas.setExtent(extent_on_map(QgsRectangle(*bounds), crs))
        QgsApplication.processEvents()

    def press(self, button):
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def pixel(self, lon, lat):
        """Where a place is on the canvas."""
        from qgis.core import QgsCoordinateTransform, QgsPointXY

        to_map = QgsCoordinateTransform(
            QgsCoordinateReferenceSystem("EPSG:4326"),
            self.iface.canvas.mapSettings().destinationCrs(),
            QgsProject.instance(),
        )
        place = (
            self.iface.canvas.mapSettings()
            .mapToPixel()
            .transform(to_map.transform(QgsPointXY(lon, lat)))
        )
        return QPoint(round(place.x()), round(place.y()))

    def click(self, lon, lat, button=Qt.MouseButton.LeftButton):
        QTest.mouseClick(
            self.iface.canvas.viewport(),
            button,
            Qt.KeyboardModifier.NoModifier,
            self.pixel(lon, lat),
        )

    def ids(self, query):
        return [int(row[0]) for row in self.sql(query)]

    def check_shown(self, query):
        """Checks that the table and the layer have the chips of an SQL query, in its order."""
        shown, expected = self.shown(), self.ids(query)
        assert expected and shown == expected, (
            f"{shown} is not {expected}: {self.dock.status.text()}"
        )

    def shown(self):
        """The chips in the table, in order, checked against the layer's."""
        table = self.dock.results.table
        layer = self.dock.hits_layer.layer
        rows = sorted(layer.getFeatures(), key=lambda row: row["rank"])
        assert [row["id"] for row in rows] == table._chips
        return list(table._chips)

    def photograph(self, name):
        QgsApplication.processEvents()
        root = QgsProject.instance().layerTreeRoot()
        self.iface.canvas.setLayers([layer for layer in root.layerOrder() if layer.isValid()])
        self.iface.canvas.refresh()
        self.iface.canvas.waitWhileRendering()
        QgsApplication.processEvents()
        if self.pictures is not None:
            self.iface.window.grab().save(str(self.pictures / name))

"""The plugin's group in the Processing toolbox."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .change import Change
from .coverage import Coverage
from .duplicates import Duplicates
from .search_by_chip import SearchByChip
from .search_by_region import SearchByRegion
from .surface import Surface

ALGORITHMS = (SearchByChip, SearchByRegion, Change, Duplicates, Coverage, Surface)
ICON = str(Path(__file__).parents[1] / "icon.svg")


class Provider(QgsProcessingProvider):
    def id(self) -> str:
        return "dcsh_pg"

    def name(self) -> str:
        return "dcsh-pg"

    def icon(self) -> QIcon:
        return QIcon(ICON)

    def loadAlgorithms(self) -> None:
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())

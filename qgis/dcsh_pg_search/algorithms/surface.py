"""The whole archive's distance to a chip, as a grid."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsGeometry, QgsRectangle

from .. import statements
from ..queries import Archive, ChipQuery
from .base import ArchiveAlgorithm, Values, integer_parameter, tr

HALF_EARTH = 20037508.342789244
"""Metres from the middle of Web Mercator to its edge."""


class Surface(ArchiveAlgorithm):
    NAME = "similarity_surface"
    TITLE = "Similarity surface"
    HELP = (
        "The least distance to a chip in each cell of a Web Mercator grid that has chips; the Earth "
        "is 2^zoom cells wide."
    )
    COLUMNS = {"x": "int", "y": "int", "distance": "int", "chips": "int8"}
    CRS = "EPSG:3857"

    def own_parameters(self):
        return [
            integer_parameter("CHIP", tr("Chip id"), 1, 1),
            integer_parameter("ZOOM", tr("Zoom, 0 to 24"), 0, 16),
        ]

    def statement(self, archive: Archive, values: Values) -> str:
        query = ChipQuery(values.integer("CHIP"))
        return statements.surface(archive, query, values.integer("ZOOM"), values.filter())

    def place(self, row: dict[str, Any], values: Values) -> QgsGeometry:
        side = 2 * HALF_EARTH / 2 ** values.integer("ZOOM")
        west, north = row["x"] * side - HALF_EARTH, HALF_EARTH - row["y"] * side
        return QgsGeometry.fromRect(QgsRectangle(west, north - side, west + side, north))

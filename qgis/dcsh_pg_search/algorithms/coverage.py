"""Where and when an archive has chips."""

from __future__ import annotations

from qgis.core import QgsProcessingParameterEnum, QgsProcessingParameterNumber

from .. import statements
from ..queries import Archive
from .base import ArchiveAlgorithm, Values, tr

PERIODS = (None, "hour", "day", "week", "month", "quarter", "year")


class Coverage(ArchiveAlgorithm):
    NAME = "coverage"
    TITLE = "Coverage"
    HELP = "Counts an archive's chips on a grid of square cells, and in periods of time if asked."
    COLUMNS = {
        "id": "int8",
        "period": "datetime",
        "chips": "int8",
        "scene_count": "int8",
        "first_acquired": "datetime",
        "last_acquired": "datetime",
        "valid_fraction": "double",
    }

    def own_parameters(self):
        kind = QgsProcessingParameterNumber.Type.Double
        names = [period or tr("no periods") for period in PERIODS]
        return [
            QgsProcessingParameterNumber(
                "CELL", tr("Side of a cell, degrees; a round size if not set"), kind, None, True, 0
            ),
            QgsProcessingParameterEnum("EVERY", tr("Periods"), names, defaultValue=0),
        ]

    def statement(self, archive: Archive, values: Values) -> str:
        every = PERIODS[values.choice("EVERY")]
        return statements.coverage(archive, values.number("CELL"), every, values.filter())

"""Groups of chips that are nearly the same."""

from __future__ import annotations

from .. import statements
from ..queries import Archive
from .base import ArchiveAlgorithm, Values, integer_parameter, tr


class Duplicates(ArchiveAlgorithm):
    NAME = "duplicates"
    TITLE = "Duplicates"
    HELP = (
        "Groups chips that are connected by codes at most a radius apart. A group's id is its "
        "smallest chip id; distances are measured to that chip."
    )
    COLUMNS = {
        "group_id": "int8",
        "id": "int8",
        "distance": "int",
        "acquired": "datetime",
        "uri": "string",
        "valid_fraction": "double",
        "scene_id": "int8",
    }

    def own_parameters(self):
        return [integer_parameter("RADIUS", tr("Radius, bits"), 0, 2)]

    def statement(self, archive: Archive, values: Values) -> str:
        return statements.duplicates(archive, values.integer("RADIUS") or 0, values.filter())

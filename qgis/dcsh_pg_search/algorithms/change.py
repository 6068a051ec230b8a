"""Change between two periods."""

from __future__ import annotations

from .. import statements
from ..queries import Archive
from .base import ArchiveAlgorithm, K, Values, integer_parameter, time_parameter, tr

PERIODS = (("BEFORE_START", "BEFORE_END"), ("AFTER_START", "AFTER_END"))


class Change(ArchiveAlgorithm):
    NAME = "change"
    TITLE = "Change"
    HELP = (
        "Compares the newest chip of a later period at each place with the one of an earlier period "
        "that overlaps it most; the most changed first. Times are UTC, an end is excluded."
    )
    COLUMNS = {
        "id": "int8",
        "distance": "int",
        "before_id": "int8",
        "overlap": "double",
        "acquired": "datetime",
        "before_acquired": "datetime",
        "uri": "string",
        "before_uri": "string",
    }

    def own_parameters(self):
        return [
            time_parameter("BEFORE_START", tr("Start of the earlier period")),
            time_parameter("BEFORE_END", tr("End of the earlier period")),
            time_parameter("AFTER_START", tr("Start of the later period")),
            time_parameter("AFTER_END", tr("End of the later period")),
            integer_parameter(K, tr("Number of places, all if not set"), 1),
        ]

    def filter_parameters(self):
        return [p for p in super().filter_parameters() if p.name() not in ("SINCE", "UNTIL")]

    def statement(self, archive: Archive, values: Values) -> str:
        before, after = [tuple(values.time(end) for end in period) for period in PERIODS]
        return statements.change(archive, before, after, values.filter(), values.integer(K))

"""Search by a chip."""

from __future__ import annotations

from .. import statements
from ..layers import HIT
from ..queries import Archive, ChipQuery
from .base import ArchiveAlgorithm, K, Values, integer_parameter, search_parameters, tr


class SearchByChip(ArchiveAlgorithm):
    NAME = "search_by_chip"
    TITLE = "Search by chip"
    HELP = "Finds the chips most similar to one of the archive, nearest first."
    COLUMNS = HIT

    def own_parameters(self):
        return [integer_parameter("CHIP", tr("Chip id"), 1, 1), *search_parameters()]

    def statement(self, archive: Archive, values: Values) -> str:
        query = ChipQuery(values.integer("CHIP"))
        return statements.search(archive, query, values.filter(), values.integer(K) or 50)

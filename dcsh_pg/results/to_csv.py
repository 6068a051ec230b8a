"""Hits as CSV (RFC 4180) with the footprint as WKT in the last column."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dcsh_pg.results.record import columns, geometry, records

if TYPE_CHECKING:
    from dcsh_pg.database.search import Hit


def to_csv(hits: Sequence[Hit]) -> str:
    """A header and one line a hit; what a hit lacks is an empty cell."""
    table = columns(records(hits))
    footprints = [geometry(hit) for hit in hits]
    table["wkt"] = [None if footprint is None else footprint.wkt for footprint in footprints]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue()

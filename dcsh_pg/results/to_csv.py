"""Rows as CSV (RFC 4180) with the footprint as WKT in the last column."""

from __future__ import annotations

import csv
import io
from datetime import datetime

from dcsh_pg.results.outputs import text_output
from dcsh_pg.results.record import Table, iso


@text_output("csv", ".csv")
def to_csv(table: Table) -> str:
    """A header and one line a row; what a row lacks is an empty cell.

    The column ``wkt`` is one that GDAL and QGIS take for the geometry by its name.
    """
    columns = {
        name: [iso(value) if isinstance(value, datetime) else value for value in values]
        for name, values in table.columns.items()
    }
    columns["wkt"] = [None if place is None else place.wkt for place in table.footprints]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()

"""Rows as JSON: an array of flat objects, the footprint as GeoJSON geometry."""

from __future__ import annotations

from dcsh_pg.results.outputs import text_output
from dcsh_pg.results.record import Table, to_json_text


@text_output("json", ".json")
def to_json(table: Table) -> str:
    """One object a row and line: its columns and ``footprint``, a GeoJSON geometry or null."""
    lines = [
        to_json_text(
            record | {"footprint": None if footprint is None else footprint.__geo_interface__}
        )
        for record, footprint in zip(table.records, table.footprints, strict=True)
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"

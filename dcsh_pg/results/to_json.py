"""Rows as JSON: an array of flat objects, the footprint as GeoJSON geometry."""

from __future__ import annotations

from shapely.geometry import mapping

from dcsh_pg.results.record import Table, to_json_text


def to_json(table: Table) -> str:
    """One object a row and line: its columns and ``footprint``, a GeoJSON geometry or null."""
    lines = [
        to_json_text(record | {"footprint": None if footprint is None else mapping(footprint)})
        for record, footprint in zip(table.records, table.footprints, strict=True)
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"

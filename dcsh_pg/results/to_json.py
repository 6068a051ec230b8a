"""Hits as JSON: an array of flat objects, the footprint as GeoJSON geometry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dcsh_pg.results.record import records

if TYPE_CHECKING:
    from dcsh_pg.database.search import Hit


def to_json(hits: Sequence[Hit]) -> str:
    """One object a hit and line: its flat fields and ``footprint``, a GeoJSON geometry or null."""
    rows = [
        row | {"footprint": hit.footprint} for row, hit in zip(records(hits), hits, strict=True)
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    return "[\n" + ",\n".join(lines) + "\n]\n"

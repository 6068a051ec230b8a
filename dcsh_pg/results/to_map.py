"""Rows on a map, as PNG, SVG or PDF (extra ``plot``)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from dcsh_pg.files import replacing
from dcsh_pg.results.outputs import Picture, picture_output

if TYPE_CHECKING:
    from dcsh_pg.results.record import Table

DPI = 150
"""Pixels per inch of a PNG."""


@picture_output("map", ".map.png", ".map.svg", ".map.pdf", extra="plot")
def to_map(table: Table, path: Path, picture: Picture) -> None:
    """Draws the footprints, see :func:`dcsh_pg.results.map.draw_map`.

    Raises:
        OutputError: the file cannot be written.
    """
    import matplotlib

    from dcsh_pg.results.map import draw_map

    figure = draw_map(table, picture)
    kind = path.suffix.lower()[1:]
    # Without the time of day in it, the same rows give the same file.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    # In memory first: matplotlib's writer of PDF fails a second time on a disk that is full.
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "dcsh-pg"}):
        figure.savefig(content, dpi=DPI, format=kind, metadata=metadata, bbox_inches="tight")
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())

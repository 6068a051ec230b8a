"""Hits for people and for other programs: one output a module.

``write`` picks the output by the file's suffix, ``dumps`` gives the text outputs as a string for
stdout, ``print_table`` is for people.  A hit is anything with the attributes of
``dcsh_pg.database.search.Hit``; hits come in the order of the search and keep it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcsh_pg.errors import UsageError
from dcsh_pg.results.files import replacing
from dcsh_pg.results.to_contact_sheet import contact_sheet
from dcsh_pg.results.to_csv import to_csv
from dcsh_pg.results.to_geojson import to_geojson
from dcsh_pg.results.to_geoparquet import to_geoparquet
from dcsh_pg.results.to_json import to_json
from dcsh_pg.results.to_table import print_table

if TYPE_CHECKING:
    from dcsh_pg.database.search import Hit
    from dcsh_pg.results.to_contact_sheet import ReadChip

__all__ = [
    "SUFFIXES",
    "TEXT_FORMATS",
    "contact_sheet",
    "dumps",
    "print_table",
    "to_csv",
    "to_geojson",
    "to_geoparquet",
    "to_json",
    "write",
]

TEXT_FORMATS = {"json": to_json, "geojson": to_geojson, "csv": to_csv}
"""The outputs that are text, by name."""

SUFFIXES = {
    ".json": "json",
    ".geojson": "geojson",
    ".csv": "csv",
    ".parquet": "geoparquet",
    ".geoparquet": "geoparquet",
    ".png": "contact sheet",
}
"""What ``write`` makes of a file's suffix."""


def dumps(hits: Sequence[Hit], format: str) -> str:
    """The hits as text: 'json', 'geojson' or 'csv'.

    Raises:
        UsageError: another format.
    """
    if format not in TEXT_FORMATS:
        raise UsageError(
            f"{format!r} is no text format", hint=f"use one of: {', '.join(TEXT_FORMATS)}"
        )
    return TEXT_FORMATS[format](hits)


def write(
    hits: Sequence[Hit],
    path: Path | str,
    *,
    query: np.ndarray | None = None,
    read_chip: ReadChip | None = None,
    title: str = "",
    query_caption: Sequence[str] = (),
) -> Path:
    """Writes the hits in the format that the suffix of ``path`` tells (``SUFFIXES``).

    The file is complete or not there.  ``query``, ``read_chip``, ``title`` and ``query_caption``
    are for the contact sheet, see ``contact_sheet``.

    Raises:
        UsageError: no output has this suffix, or a contact sheet without ``read_chip``.
        OutputError: the file cannot be written, or its library is not installed.
    """
    path = Path(path)
    output = SUFFIXES.get(path.suffix.lower())
    if output is None:
        raise UsageError(
            f"cannot tell what to write from the name {path.name!r}",
            hint=f"end it in one of: {' '.join(SUFFIXES)}",
        )
    if output == "contact sheet":
        if read_chip is None:
            raise UsageError(f"{path}: a contact sheet needs a way to read the chips")
        contact_sheet(
            query, hits, path, read_chip=read_chip, title=title, query_caption=query_caption
        )
    elif output == "geoparquet":
        to_geoparquet(hits, path)
    else:
        with replacing(path) as temporary:
            temporary.write_text(dumps(hits, output), encoding="utf-8", newline="")
    return path

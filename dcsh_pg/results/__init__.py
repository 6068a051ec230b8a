"""Hits for people and for other programs: one output a module.

``show`` prints hits on stdout, ``write`` picks the output by a file's suffix, ``dumps`` gives the
text outputs as a string.  A hit is anything with the attributes of
``dcsh_pg.database.search.Hit``; hits come in the order of the search and keep it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dcsh_pg.errors import UsageError
from dcsh_pg.files import check_writable, replacing
from dcsh_pg.results.to_contact_sheet import contact_sheet
from dcsh_pg.results.to_csv import to_csv
from dcsh_pg.results.to_geojson import to_geojson
from dcsh_pg.results.to_geoparquet import check_geopandas, to_geoparquet
from dcsh_pg.results.to_json import to_json
from dcsh_pg.results.to_table import print_table

if TYPE_CHECKING:
    import numpy as np

    from dcsh_pg.database.search import Hit
    from dcsh_pg.results.to_contact_sheet import ReadChip

__all__ = [
    "SUFFIXES",
    "TEXT_FORMATS",
    "check_output",
    "contact_sheet",
    "dumps",
    "print_table",
    "show",
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


class Query(Protocol):
    """What was looked for, as ``dcsh_pg.archive.Query`` tells it.

    Attributes:
        caption: what people call it.
        pixels: uint8 (H, W, C), or None where there is no picture of it.
    """

    caption: str
    pixels: np.ndarray | None


def dumps(hits: Sequence[Hit], format: str) -> str:
    """The hits as text: 'json', 'geojson' or 'csv'.

    Raises:
        UsageError: another format.
    """
    if format not in TEXT_FORMATS:
        raise UsageError(
            f"no output is called '{format}'",
            hint=f"use one of: {', '.join(['table', *TEXT_FORMATS])}",
        )
    return TEXT_FORMATS[format](hits)


def show(hits: Sequence[Hit], format: str = "table") -> None:
    """Prints the hits on stdout: 'table', 'json', 'geojson' or 'csv'.

    Raises:
        UsageError: another format.
    """
    if format == "table":
        print_table(hits)
    else:
        sys.stdout.write(dumps(hits, format))


def check_output(path: Path | str) -> None:
    """Tells before a search whether ``write`` will be able to write ``path``.

    Raises:
        UsageError: no output has this suffix.
        OutputError: the folder cannot be written to, or a library is not installed.
    """
    path = Path(path)
    if _output(path) == "geoparquet":
        check_geopandas(path)
    check_writable(path)


def write(
    hits: Sequence[Hit],
    path: Path | str,
    *,
    query: Query | None = None,
    read_chip: ReadChip | None = None,
    title: str = "",
) -> None:
    """Writes the hits in the format that the suffix of ``path`` tells (``SUFFIXES``).

    The file is complete or not there.  ``query``, ``read_chip`` and ``title`` are for the contact
    sheet, see ``contact_sheet``.

    Raises:
        UsageError: no output has this suffix, or a contact sheet without ``read_chip``.
        OutputError: the file cannot be written, or a library is not installed.
    """
    path = Path(path)
    output = _output(path)
    if output == "contact sheet":
        if read_chip is None:
            raise UsageError(f"{path}: a contact sheet needs a way to read the chips")
        contact_sheet(
            None if query is None else query.pixels,
            hits,
            path,
            read_chip=read_chip,
            title=title,
            query_caption=() if query is None else (query.caption,),
        )
    elif output == "geoparquet":
        to_geoparquet(hits, path)
    else:
        with replacing(path) as temporary:
            temporary.write_text(dumps(hits, output), encoding="utf-8", newline="")


def _output(path: Path) -> str:
    output = SUFFIXES.get(path.suffix.lower())
    if output is None:
        raise UsageError(
            f"cannot tell what to write from the name '{path.name}'",
            hint=f"end it in one of: {' '.join(SUFFIXES)}",
        )
    return output

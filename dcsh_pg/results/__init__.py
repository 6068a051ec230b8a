"""Answers for people and for other programs: one output a module.

``show`` prints the hits of a search on stdout, ``write`` picks the output by a file's suffix,
``dumps`` gives the text outputs as a string, ``to_geopandas`` a GeoDataFrame.  A hit is anything
with the attributes of ``dcsh_pg.database.search.similar.Hit``; hits come in the order of the search and
keep it.

``show_rows``, ``write_rows`` and ``dumps_rows`` do the same for rows of any other kind:

    @dataclass(frozen=True)
    class Change:
        id: int
        distance: int
        before: datetime | None
        footprint: dict | None

    results.show_rows(changes, "geojson", columns=Change)
    results.write_rows(changes, "changes.parquet", columns=Change)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dcsh_pg.errors import UsageError
from dcsh_pg.files import check_writable, replacing
from dcsh_pg.results.extras import require
from dcsh_pg.results.record import Row, Table
from dcsh_pg.results.to_contact_sheet import contact_sheet
from dcsh_pg.results.to_csv import to_csv
from dcsh_pg.results.to_geojson import to_geojson, to_geojson_lines, to_geojson_text_sequence
from dcsh_pg.results.to_geopandas import to_geopandas
from dcsh_pg.results.to_geoparquet import to_geoparquet
from dcsh_pg.results.to_json import to_json
from dcsh_pg.results.to_map import to_map
from dcsh_pg.results.to_ogr import to_flatgeobuf, to_geopackage
from dcsh_pg.results.to_table import HIT_COLUMNS, print_table
from dcsh_pg.terminal import printable

if TYPE_CHECKING:
    import numpy as np
    from shapely.geometry.base import BaseGeometry

    from dcsh_pg.database.search.similar import Hit
    from dcsh_pg.results.to_contact_sheet import ReadChip

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "check_output",
    "contact_sheet",
    "dumps",
    "dumps_rows",
    "show",
    "show_rows",
    "to_geopandas",
    "write",
    "write_rows",
]

_TEXTS = {
    "json": to_json,
    "geojson": to_geojson,
    "geojsonseq": to_geojson_lines,
    "csv": to_csv,
}

FORMATS = ("table", *_TEXTS)
"""What ``show`` can print: a table for people, or text for programs."""

SUFFIXES = {
    ".geojson": "geojson",
    ".geojsonl": "geojsonseq",
    ".geojsons": "geojson text sequence",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "geoparquet",
    ".geoparquet": "geoparquet",
    ".fgb": "flatgeobuf",
    ".gpkg": "geopackage",
    ".map.png": "map",
    ".map.svg": "map",
    ".map.pdf": "map",
    ".png": "contact sheet",
}
"""What ``write`` makes of the end of a file's name."""

_TEXT_FILES = _TEXTS | {"geojson text sequence": to_geojson_text_sequence}
_LAYERS = {
    "geoparquet": to_geoparquet,
    "flatgeobuf": to_flatgeobuf,
    "geopackage": to_geopackage,
}
_EXTRAS = dict.fromkeys(_LAYERS, "geo") | {"map": "plot"}


class Query(Protocol):
    """What was looked for, as ``dcsh_pg.archive.Query`` tells it.

    Attributes:
        caption: what people call it.
        pixels: uint8 (H, W, C), or None where there is no picture of it.
        footprint: GeoJSON geometry in longitude and latitude, or None where it has no place.
    """

    caption: str
    pixels: np.ndarray | None
    footprint: dict[str, Any] | None


# -- hits ------------------------------------------------------------------------------------


def show(hits: Sequence[Hit], format: str = "table") -> None:
    """Prints the hits on stdout in one of ``FORMATS``.

    Raises:
        UsageError: another format.
    """
    _show(Table.of_hits(hits), format, HIT_COLUMNS)


def dumps(hits: Sequence[Hit], format: str) -> str:
    """The hits as text: 'json', 'geojson', 'geojsonseq' or 'csv'.

    Raises:
        UsageError: another format.
    """
    return _dumps(Table.of_hits(hits), format)


def check_output(path: Path | str, *, of_hits: bool = True) -> None:
    """Tells before a search whether ``write`` will be able to write ``path``.

    Args:
        of_hits: False for what ``write_rows`` is to write, which has no contact sheet.

    Raises:
        UsageError: no output has this suffix, or it is one for hits alone.
        OutputError: the folder cannot be written to, or a library is not installed.
    """
    path = Path(path)
    output = _output(path) if of_hits else _output_of_rows(path)
    if output in _EXTRAS:
        require(_EXTRAS[output], f"write {path}")
    check_writable(path)


def write(
    hits: Sequence[Hit],
    path: Path | str,
    *,
    query: Query | None = None,
    read_chip: ReadChip | None = None,
    area: BaseGeometry | None = None,
    title: str = "",
) -> None:
    """Writes the hits in the format that the end of the name of ``path`` tells (``SUFFIXES``).

    The file is complete or not there.  ``query`` and ``title`` are for the pictures, ``read_chip``
    for the contact sheet, see ``contact_sheet``; ``area`` (longitude and latitude) is where was
    searched, for the map.

    Raises:
        UsageError: no output has this suffix, or a contact sheet without ``read_chip``.
        OutputError: the file cannot be written, or a library is not installed.
    """
    path = Path(path)
    if _output(path) == "contact sheet":
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
    elif _output(path) == "map":
        marks = {} if query is None else {"query": query.footprint, "query_caption": query.caption}
        to_map(Table.of_hits(hits), path, area=area, title=title, **marks)
    else:
        _write(Table.of_hits(hits), path)


# -- rows of any kind ------------------------------------------------------------------------


def show_rows(
    rows: Iterable[Row | Mapping[str, Any]],
    format: str = "table",
    *,
    columns: type | Mapping[str, type],
) -> None:
    """Prints rows on stdout in one of ``FORMATS``.

    Args:
        rows: see :class:`dcsh_pg.results.record.Row`.
        columns: the dataclass that the rows are of, or the type of each column (int, float, bool,
            str or datetime); no rows are told with these columns too.

    Raises:
        UsageError: another format.
    """
    _show(Table.of(rows, columns), format)


def dumps_rows(
    rows: Iterable[Row | Mapping[str, Any]], format: str, *, columns: type | Mapping[str, type]
) -> str:
    """Rows as text, as :func:`show_rows` prints them: 'json', 'geojson', 'geojsonseq' or 'csv'.

    Raises:
        UsageError: another format.
    """
    return _dumps(Table.of(rows, columns), format)


def write_rows(
    rows: Iterable[Row | Mapping[str, Any]],
    path: Path | str,
    *,
    columns: type | Mapping[str, type],
    area: BaseGeometry | None = None,
    title: str = "",
    colour_by: str | None = None,
) -> None:
    """Writes rows in the format that the end of the name tells: all but the contact sheet.

    The file is complete or not there.  ``rows`` and ``columns`` as :func:`show_rows`; ``area``,
    ``title`` and ``colour_by``, a numeric column (default: ``distance``, if there), are for the
    map.  :func:`check_output` tells beforehand whether it will work.

    Raises:
        UsageError: no output has this suffix, or it is that of the contact sheet.
        OutputError: the file cannot be written, or a library is not installed.
    """
    path = Path(path)
    output = _output_of_rows(path)
    table = Table.of(rows, columns)
    if output == "map":
        to_map(table, path, area=area, title=title, colour_by=colour_by)
    else:
        _write(table, path)


def _show(table: Table, format: str, columns: Sequence[str] | None = None) -> None:
    if format == "table":
        print_table(table, columns=columns)
    else:
        text = _dumps(table, format)
        sys.stdout.write(printable(text, lines=True) if sys.stdout.isatty() else text)


def _dumps(table: Table, format: str) -> str:
    if format not in _TEXTS:
        raise UsageError(
            f"no output is called '{format}'", hint=f"use one of: {', '.join(FORMATS)}"
        )
    return _TEXTS[format](table)


def _write(table: Table, path: Path) -> None:
    output = _output(path)
    if output in _LAYERS:
        _LAYERS[output](table, path)
    else:
        with replacing(path) as temporary:
            temporary.write_text(_TEXT_FILES[output](table), encoding="utf-8", newline="")


def _output(path: Path) -> str:
    name = path.name.lower()
    output = next((SUFFIXES[end] for end in SUFFIXES if name.endswith(end)), None)
    if output is None:
        raise UsageError(
            f"cannot tell what to write from the name '{path.name}'",
            hint=f"end it in one of: {' '.join(SUFFIXES)}",
        )
    return output


def _output_of_rows(path: Path) -> str:
    output = _output(path)
    if output == "contact sheet":
        raise UsageError(
            f"{path}: a contact sheet is of the hits of a search",
            hint=f"end it in one of: {' '.join(end for end in SUFFIXES if end != '.png')}",
        )
    return output

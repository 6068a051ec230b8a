"""Rows for people and for other programs: one output a module ``to_*``.

``show`` prints rows on stdout, ``write`` picks the output by a file's suffix, ``dumps`` gives the text
outputs as a string, ``to_geopandas`` a GeoDataFrame.  Rows keep their order.  They are the hits of a
search or, with ``columns``, rows of any other kind:

    @dataclass(frozen=True)
    class Change:
        id: int
        distance: int
        before: datetime | None
        footprint: dict | None

    results.show(changes, "geojson", columns=Change)
    results.write(changes, "changes.parquet", columns=Change)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

from dcsh_pg.errors import UsageError
from dcsh_pg.files import check_writable
from dcsh_pg.results import outputs
from dcsh_pg.results.outputs import OUTPUTS, Picture
from dcsh_pg.results.record import Columns, Row, Table
from dcsh_pg.results.to_geopandas import to_geopandas as to_geopandas
from dcsh_pg.results.to_table import HITS_SHOWN, print_table
from dcsh_pg.terminal import printable

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from dcsh_pg.database.search.hits import Hit
    from dcsh_pg.database.search.query import Query
    from dcsh_pg.results.outputs import ReadChip


for _module in iter_modules(__path__):
    if _module.name.startswith("to_"):
        import_module(f"{__name__}.{_module.name}")

_TEXTS = {output.name: output.text for output in OUTPUTS if output.text is not None}

FORMATS = ("table", *_TEXTS)
"""What ``show`` prints: a table for people, or text for programs."""


def show(
    rows: Iterable[Row],
    format: str = "table",
    *,
    columns: Columns | None = None,
    shown: Sequence[str] | None = None,
) -> None:
    """Prints rows on stdout in one of ``FORMATS``.

    Args:
        columns: None for the hits of a search, see :class:`dcsh_pg.results.record.Row`.
        shown: columns of the table for people; None shows all.

    Raises:
        UsageError: another format.
    """
    if format == "table":
        print_table(_table(rows, columns), columns=HITS_SHOWN if columns is None else shown)
    else:
        text = dumps(rows, format, columns=columns)
        sys.stdout.write(printable(text, lines=True) if sys.stdout.isatty() else text)


def dumps(rows: Iterable[Row], format: str, *, columns: Columns | None = None) -> str:
    """Rows as text, in one of ``FORMATS`` but 'table'.

    Raises:
        UsageError: another format.
    """
    if format not in _TEXTS:
        raise UsageError(f"unknown format '{format}'", hint=f"use one of: {', '.join(FORMATS)}")
    return _TEXTS[format](_table(rows, columns))


def check_output(path: Path | str, *, of_hits: bool = True) -> None:
    """Checks before a search that ``write`` can write ``path``.

    Args:
        of_hits: False for rows that are not the hits of a search.

    Raises:
        UsageError: no output has this suffix, or it is for hits alone.
        OutputError: the folder cannot be written to, or a library is not installed.
    """
    outputs.output_of(Path(path), of_hits=of_hits)
    check_writable(path)


def write(
    rows: Iterable[Row],
    path: Path | str,
    *,
    columns: Columns | None = None,
    query: Query | None = None,
    read_chip: ReadChip | None = None,
    area: BaseGeometry | None = None,
    title: str = "",
    colour_by: str | None = None,
) -> None:
    """Writes rows in the format that the end of the file's name selects.

    The file is complete or not there.  ``columns`` as in :func:`show`; the others are those of
    :class:`dcsh_pg.results.outputs.Picture`.

    Raises:
        UsageError: no output has this suffix, it is for hits alone, or a contact sheet lacks
            ``read_chip``.
        OutputError: the file cannot be written, or a library is not installed.
    """
    path = Path(path)
    output = outputs.output_of(path, of_hits=columns is None)
    picture = Picture(title, query, area, colour_by, read_chip)
    output.write(_table(rows, columns), path, picture)


def _table(rows: Iterable[Row], columns: Columns | None) -> Table:
    if columns is None:
        return Table.of_hits(cast("Iterable[Hit]", rows))
    return Table.of(rows, columns)

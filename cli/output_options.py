"""What becomes of an answer: --format on stdout, --out to files; the choices are the outputs there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcsh_pg import results
from dcsh_pg.cli.console import say
from dcsh_pg.cli.expand import Parsed
from dcsh_pg.errors import DcshError, UsageError
from dcsh_pg.results import outputs

if TYPE_CHECKING:
    import numpy as np
    from shapely.geometry.base import BaseGeometry

    from dcsh_pg.database.search.hits import Hit
    from dcsh_pg.database.search.query import Query
    from dcsh_pg.results.outputs import ReadChip
    from dcsh_pg.results.record import Columns, Row

output_option = partial(typer.Option, rich_help_panel="Output")

Format = Annotated[
    str,
    output_option(
        "--format",
        "-f",
        metavar="FORMAT",
        help=f"What to print: {', '.join(results.FORMATS)}. geojsonseq is one feature a line.",
    ),
]


def _files(*, of_hits: bool) -> object:
    return output_option(
        "--out",
        "-o",
        metavar="FILE",
        help="Also write a file, with the format of its extension: "
        f"{', '.join(sorted(outputs.suffixes(of_hits=of_hits)))}. May be given several times.",
    )


FilesOfHits = Annotated[list[Path] | None, _files(of_hits=True)]
FilesOfRows = Annotated[list[Path] | None, _files(of_hits=False)]


@dataclass(frozen=True)
class Output:
    """Where rows go.

    Attributes:
        format: printed on stdout.
        files: written before that.
    """

    format: str
    files: Sequence[Path]

    def put(
        self,
        rows: Sequence[Row],
        *,
        title: str,
        area: BaseGeometry | None = None,
        columns: Columns | None = None,
        shown: Sequence[str] | None = None,
        query: Query | None = None,
        read_chip: ReadChip | None = None,
        colour_by: str | None = None,
    ) -> None:
        """Writes and prints rows; the arguments are those of ``results.write`` and ``results.show``."""
        unread: dict[int, DcshError | OSError] = {}

        def read(hit: Hit) -> np.ndarray | None:
            assert read_chip is not None
            try:
                return read_chip(hit)
            except (DcshError, OSError) as error:
                unread[hit.id] = error
                raise

        for file in self.files:
            results.write(
                rows,
                file,
                columns=columns,
                query=query,
                read_chip=read if read_chip else None,
                area=area,
                title=title,
                colour_by=colour_by,
            )
        results.show(rows, self.format, columns=columns, shown=shown)
        if unread:
            first = next(iter(unread.values()))
            say(
                f"the pictures of {len(unread)} of {len(rows)} hits cannot be read: {first}; if files "
                "were moved, 'dcsh-pg archive relocate' updates their addresses"
            )


def _hits_output(format: Format = "table", out: FilesOfHits = None) -> Output:
    return _checked(format, out or [], of_hits=True)


def _rows_output(format: Format = "table", out: FilesOfRows = None) -> Output:
    return _checked(format, out or [], of_hits=False)


def _checked(format: str, files: Sequence[Path], *, of_hits: bool) -> Output:
    if format not in results.FORMATS:
        raise UsageError(
            f"--format {format}: unknown format", hint=f"use one of: {', '.join(results.FORMATS)}"
        )
    for file in files:
        results.check_output(file, of_hits=of_hits)
    return Output(format, files)


HitsOutput = Annotated[Output, Parsed(_hits_output)]
"""Of a command that finds hits."""
RowsOutput = Annotated[Output, Parsed(_rows_output)]
"""Of a command with rows of another kind."""

"""The table of outputs, which every module ``to_*`` of this package enters with a decorator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dcsh_pg.errors import UsageError
from dcsh_pg.extras import require
from dcsh_pg.files import replacing

if TYPE_CHECKING:
    import numpy as np
    from shapely.geometry.base import BaseGeometry

    from dcsh_pg.database.search.hits import Hit
    from dcsh_pg.database.search.query import Query
    from dcsh_pg.results.record import Table

    ReadChip = Callable[[Hit], np.ndarray | None]
    Text = Callable[[Table], str]
    Write = Callable[[Table, Path], None]
    Draw = Callable[[Table, Path, "Picture"], None]


@dataclass(frozen=True)
class Picture:
    """What pictures show besides the rows.

    Attributes:
        title: a line above all.
        query: what was searched for, or None.
        area: area that was searched, longitude and latitude, or None.
        colour_by: numeric column that colours a map; None: ``distance``, if there.
        read_chip: reads the pixels of a hit, for the contact sheet.
    """

    title: str = ""
    query: Query | None = None
    area: BaseGeometry | None = None
    colour_by: str | None = None
    read_chip: ReadChip | None = None


@dataclass(frozen=True)
class Output:
    """A way to write a table.

    Attributes:
        name: its name; that of a text is a ``--format``.
        suffixes: ends of file names that select it.
        write: writes a file, complete or not at all.
        text: the same as text, or None.
        extra: extra of the package that it needs, or None.
        of_hits: whether it takes the hits of a search alone.
    """

    name: str
    suffixes: tuple[str, ...]
    write: Draw
    text: Text | None = None
    extra: str | None = None
    of_hits: bool = False


OUTPUTS: list[Output] = []
"""All of them; ``dcsh_pg.results`` imports their modules."""


def text_output(name: str, *suffixes: str) -> Callable[[Text], Text]:
    """Enters a function that gives a table as text; it is printed and written."""

    def enter(text: Text) -> Text:
        def write(table: Table, path: Path, picture: Picture) -> None:
            with replacing(path) as temporary:
                temporary.write_text(text(table), encoding="utf-8", newline="")

        OUTPUTS.append(Output(name, suffixes, write, text))
        return text

    return enter


def layer_output(name: str, *suffixes: str, extra: str) -> Callable[[Write], Write]:
    """Enters a function that writes a table to a file."""

    def enter(write: Write) -> Write:
        OUTPUTS.append(
            Output(name, suffixes, lambda table, path, picture: write(table, path), extra=extra)
        )
        return write

    return enter


def picture_output(
    name: str, *suffixes: str, extra: str | None = None, of_hits: bool = False
) -> Callable[[Draw], Draw]:
    """Enters a function that draws a table."""

    def enter(draw: Draw) -> Draw:
        OUTPUTS.append(Output(name, suffixes, draw, extra=extra, of_hits=of_hits))
        return draw

    return enter


def suffixes(*, of_hits: bool = True) -> dict[str, Output]:
    """End of a file's name -> its output, the longest first."""
    known = {
        suffix: output
        for output in OUTPUTS
        for suffix in output.suffixes
        if of_hits or not output.of_hits
    }
    return dict(sorted(known.items(), key=lambda item: -len(item[0])))


def output_of(path: Path, *, of_hits: bool = True) -> Output:
    """The output that the end of a file's name selects.

    Raises:
        UsageError: there is none, or it is for hits alone.
        OutputError: a library that it needs is not installed.
    """
    known = suffixes()
    name = path.name.lower()
    output = next((known[end] for end in known if name.endswith(end)), None)
    hint = f"end it in one of: {' '.join(suffixes(of_hits=of_hits))}"
    if output is None:
        raise UsageError(f"unknown output format of '{path.name}'", hint=hint)
    if output.of_hits and not of_hits:
        raise UsageError(f"{path}: a {output.name} needs the hits of a search", hint=hint)
    if output.extra is not None:
        require(output.extra, f"write {path}")
    return output

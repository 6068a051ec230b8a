"""Hits as one picture: the query on the left, the hits in a grid on the right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dcsh_pg.errors import UsageError
from dcsh_pg.results.outputs import Picture, picture_output

if TYPE_CHECKING:
    from dcsh_pg.results.record import Table


@picture_output("contact sheet", ".png", of_hits=True)
def to_contact_sheet(table: Table, path: Path, picture: Picture) -> None:
    """Draws the hits and their query, see :func:`dcsh_pg.results.sheet.contact_sheet`.

    Raises:
        UsageError: ``picture`` has no ``read_chip``.
        OutputError: the file cannot be written.
    """
    if picture.read_chip is None:
        raise UsageError(
            f"{path}: a contact sheet needs the pixels of the chips", hint="pass read_chip"
        )
    from dcsh_pg.results.sheet import contact_sheet

    contact_sheet(table.hits, path, picture, picture.read_chip)

"""Rows of a benchmark: a method with its features and options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dcsh_pg.errors import InputError, UsageError
from dcsh_pg.learning.encoders.registry import find
from dcsh_pg.methods import NAMES

COSINE = "cosine"
"""Not a method: the features themselves, real-valued, ranked by cosine; the same for all bits."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: as the report calls it.
        method: one of ``methods.NAMES``, or 'cosine'.
        encoder, weights: as ``dcsh-pg train`` takes them.
        freeze: train the head alone; classic methods always do.
        options: fields of the method's Options.
        track: 'paper', 'A', 'B' or 'ablation'; what the row is there for.
        base: in an ablation, the name of the row that it is compared with.
        bits: only these lengths, or empty for all that are asked.
        note: a remark for the report.
    """

    name: str
    method: str
    encoder: str
    weights: str = "none"
    freeze: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    track: str = "paper"
    base: str = ""
    bits: tuple[int, ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read(path: Path, weights: Mapping[str, str]) -> list[Row]:
    """Rows from a JSON list of objects with the fields of ``Row``.

    Args:
        weights: encoder -> weights, for rows that name none.

    Raises:
        InputError: the file cannot be read or is not such a list.
    """
    try:
        content = json.loads(path.read_text())
        rows = [Row(**{**item, "bits": tuple(item.get("bits", ()))}) for item in content]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} holds no benchmark rows: {error}",
            hint=f"write a JSON list of objects with {', '.join(f.name for f in fields(Row))}",
        ) from error
    return check([complete(row, weights) for row in rows])


def simple(
    methods: Sequence[str], encoders: Sequence[str], weights: Mapping[str, str]
) -> list[Row]:
    """Each method on the features of each encoder, and the features themselves.

    Args:
        weights: encoder -> weights; ImageNet's where it names none.

    Raises:
        UsageError: a method or encoder is not known.
    """
    found = []
    for encoder in encoders:
        given = weights.get(encoder, "imagenet" if find(encoder).imagenet else "none")
        for method in (COSINE, *methods):
            name = method if len(encoders) == 1 else f"{method}, {encoder}"
            found.append(Row(name, method, encoder, given))
    return check(found)


def complete(row: Row, weights: Mapping[str, str]) -> Row:
    """The row with its encoder's weights where it names none itself."""
    if row.weights != "none" or row.encoder not in weights:
        return row
    return Row(**{**row.to_dict(), "weights": weights[row.encoder]})


def check(rows: Sequence[Row]) -> list[Row]:
    """The rows, if each has a known method and a name of its own.

    Raises:
        UsageError: otherwise.
    """
    names = [row.name for row in rows]
    for row in rows:
        if row.method not in (*NAMES, COSINE):
            raise UsageError(
                f"row {row.name!r}: no method is called {row.method!r}",
                hint=f"one of: {', '.join((*NAMES, COSINE))}",
            )
        if names.count(row.name) > 1:
            raise UsageError(f"two rows are called {row.name!r}", hint="give each its own name")
        if row.base and row.base not in names:
            raise UsageError(
                f"row {row.name!r} is compared with {row.base!r}, which is no row",
                hint="name another row as its base",
            )
    return list(rows)

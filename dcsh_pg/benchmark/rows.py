"""Rows of a benchmark: a method, its encoder and its options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dcsh_pg.codes import check_bits
from dcsh_pg.errors import DcshError, InputError, UsageError
from dcsh_pg.learning.encoders import find
from dcsh_pg.methods import choose_options

COSINE = "cosine"
"""The features themselves, real-valued, ranked by cosine; the same for all code lengths."""
TRACKS = ("paper", "A", "B", "ablation")


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: its name in the report.
        method: see ``methods.get``, or 'cosine'.
        encoder: see ``encoders.find``.
        weights: 'none', 'pretrained', 'imagenet' or a file; '' before ``complete``.
        freeze: leave the encoder as it is; all methods but DCSH always do.
        options: fields of the method's Options.
        track: one of ``TRACKS``: the section of the report.
        base: in an ablation, the name of the row that it is compared with.
        bits: only these code lengths; empty for all of the benchmark.
        splits: only so many of the first splits; 0 for all of the benchmark.
        note: a remark in the report.
    """

    name: str
    method: str
    encoder: str
    weights: str = ""
    freeze: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    track: str = "paper"
    base: str = ""
    bits: tuple[int, ...] = ()
    splits: int = 0
    note: str = ""

    def repeats(self, splits: int) -> int:
        """How many of the benchmark's splits this row is measured on."""
        return min(splits, self.splits) if self.splits > 0 else splits

    def lengths(self, bits: Sequence[int]) -> tuple[int, ...]:
        """The benchmark's code lengths that this row is measured at."""
        if self.method == COSINE:
            return tuple(bits[:1])
        return tuple(one for one in bits if not self.bits or one in self.bits)

    def method_options(self) -> Any:
        """The method's options, or None for the features themselves.

        Raises:
            UsageError: the method or an option is unknown or out of range; names the row.
        """
        if self.method == COSINE:
            return None
        try:
            return choose_options(
                self.method, weights=self.weights, freeze=self.freeze, **self.options
            )
        except (DcshError, TypeError, ValueError) as error:
            raise UsageError(
                f"row {self.name!r}: {getattr(error, 'message', error)}",
                hint=getattr(error, "hint", None) or "correct the row's options",
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Plain values; of a weights file its name without the folder."""
        return {**asdict(self), "weights": Path(self.weights).name}


_TYPES: dict[str, tuple[type, str]] = {
    "freeze": (bool, "true or false"),
    "options": (dict, "an object"),
    "bits": (list, "a list of whole numbers"),
    "splits": (int, "a whole number"),
}
"""JSON types of the fields that are not text."""


def read(path: Path, weights: Mapping[str, str]) -> list[Row]:
    """Rows from a JSON list of objects with the fields of ``Row``.

    Args:
        weights: encoder -> weights, for rows without their own.

    Raises:
        InputError: the file cannot be read, or is not a list of rows.
        UsageError: see ``check``.
    """
    hint = f"write a JSON list of objects with {', '.join(f.name for f in fields(Row))}"
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, list) or not content:
            raise ValueError("it is not a list of at least one row")
        rows = [_row(item, number) for number, item in enumerate(content, 1)]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path} does not contain benchmark rows: {reason}", hint=hint) from error
    return check(rows, weights)


def _row(item: Any, number: int) -> Row:
    """Raises ValueError where an object is not a row."""
    if not isinstance(item, dict):
        raise ValueError(f"row {number} is not an object")
    for name in ("name", "method", "encoder"):
        if name not in item:
            raise ValueError(f"row {number} has no {name}")
    for name, value in item.items():
        if name not in {f.name for f in fields(Row)}:
            raise ValueError(f"row {number} has an unknown field '{name}'")
        kind, expected = _TYPES.get(name, (str, "text"))
        is_valid = isinstance(value, kind)
        if name == "bits" and isinstance(value, list):
            is_valid = all(type(one) is int for one in value)
        if not is_valid:
            raise ValueError(f"{name} of row {number} is not {expected}")
    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in item.get("options", {}).items()
    }
    return Row(**{**item, "options": options, "bits": tuple(item.get("bits", ()))})


def simple(
    methods: Sequence[str], encoders: Sequence[str], weights: Mapping[str, str]
) -> list[Row]:
    """Each method on the features of each encoder, and the features themselves.

    Args:
        weights: encoder -> weights.

    Raises:
        UsageError: see ``check``.
    """
    rows = [
        Row(method if len(encoders) == 1 else f"{method}, {encoder}", method, encoder)
        for encoder in encoders
        for method in dict.fromkeys((COSINE, *methods))
    ]
    return check(rows, weights)


def complete(row: Row, weights: Mapping[str, str]) -> Row:
    """The row with weights: its own, else those given for its encoder, else the encoder's default.

    Raises:
        UsageError: the encoder is not known.
    """
    return replace(
        row, weights=row.weights or weights.get(row.encoder) or find(row.encoder).default_weights
    )


def check(rows: Sequence[Row], weights: Mapping[str, str]) -> list[Row]:
    """The rows, each ``complete``, if they can be measured.

    Raises:
        UsageError: a row's name is not unique, its method, encoder, option, code length, track or
            base is unknown, or weights are given for an encoder that no row has.
    """
    names = [row.name for row in rows]
    for encoder in weights.keys() - {row.encoder for row in rows}:
        raise UsageError(
            f"--weights {encoder}=...: no row has that encoder",
            hint=f"the rows have {', '.join(sorted({row.encoder for row in rows}))}",
        )
    for row in rows:
        if names.count(row.name) > 1:
            raise UsageError(f"two rows are named {row.name!r}", hint="give each its own name")
        if row.track not in TRACKS:
            raise UsageError(
                f"row {row.name!r}: unknown track {row.track!r}",
                hint=f"one of: {', '.join(TRACKS)}",
            )
        for bits in row.bits:
            check_bits(bits)
        if (row.track == "ablation" or row.base) and row.base not in names:
            raise UsageError(
                f"row {row.name!r} has the base {row.base!r}, which is not a row",
                hint="name another row as its base",
            )
    complete_rows = [complete(row, weights) for row in rows]
    for row in complete_rows:
        row.method_options()
    return complete_rows

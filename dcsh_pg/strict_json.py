"""JSON from outside.  All of it is read here.

Python's own parser accepts what PostgreSQL and GeoJSON refuse (NaN, 1e999, NUL, lone surrogates), raises
RecursionError on a hundred thousand brackets, and another error on integers of 5,000 digits.  One bad
item of thousands must not fail the others.  So :func:`loads` replaces a value that cannot be stored by a
:class:`Refused`, and :func:`check` finds it in its item.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from dcsh_pg.errors import storable

MAX_DEPTH = 100
"""Levels of arrays and objects."""

MAX_DIGITS = 400
"""Of an integer; the largest floating-point number has 309."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_TOO_DEEP = "9e999999999"


@dataclass(frozen=True)
class Refused:
    """Stands for a value that cannot be stored; ``reason`` says why."""

    reason: str


def loads(text: str) -> Any:
    """The value of a JSON text; NaN and Infinity, which are common but not JSON, become None.

    A number out of range or a value nested too deep becomes :class:`Refused`.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return _parse(text)
    except RecursionError:
        try:
            return _parse(_cut(text))
        except RecursionError:
            raise ValueError("nested too deep") from None


def check(value: Any) -> None:
    """Checks that PostgreSQL can store a value as JSON.

    Raises:
        ValueError: it holds NaN, a number out of range, NUL or a lone surrogate, or is nested deeper than
            ``MAX_DEPTH`` levels.
    """
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        deeper: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                deeper += part.keys()
                deeper += part.values()
            elif isinstance(part, list | tuple):
                deeper += part
            elif isinstance(part, Refused):
                raise ValueError(part.reason)
            elif isinstance(part, float) and not math.isfinite(part):
                raise ValueError(f"{part}, which is not a JSON number")
            elif isinstance(part, str) and storable(part) != part:
                raise ValueError("a NUL character or a lone surrogate, which cannot be stored")
        if not deeper:
            return
        level = deeper
    raise ValueError(f"nested more than {MAX_DEPTH} levels deep")


def loads_checked(text: str) -> Any:
    """:func:`loads` and :func:`check` of a whole text.

    Raises:
        ValueError: it is not JSON, or PostgreSQL cannot store it.
    """
    value = loads(text)
    check(value)
    return value


def _parse(text: str) -> Any:
    return json.loads(text, parse_float=_float, parse_int=_integer, parse_constant=lambda _: None)


def _float(text: str) -> float | Refused:
    if text == _TOO_DEEP:
        return Refused(f"nested more than {MAX_DEPTH} levels deep")
    value = float(text)
    if math.isinf(value):
        return Refused(f"a number out of range: {text[:20]}")
    return value


def _integer(text: str) -> int | Refused:
    if len(text) > MAX_DIGITS:
        return Refused(f"an integer of {len(text)} digits")
    return int(text)


def _cut(text: str) -> str:
    """The text with everything deeper than ``MAX_DEPTH`` levels replaced by a number out of range."""
    kept: list[str] = []
    depth = start = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += [text[start : token.start()], _TOO_DEEP]
        elif mark in "]}":
            if depth == MAX_DEPTH + 1:
                start = token.end()
            depth -= 1
    if depth > MAX_DEPTH:  # never closed
        raise ValueError("nested too deep and never closed")
    return "".join([*kept, text[start:]])

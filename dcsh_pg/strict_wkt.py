"""WKT from outside: the one place that reads it, because GEOS overflows the stack on deep nesting."""

from __future__ import annotations

import re

import shapely
from shapely.errors import ShapelyError

MAX_DEPTH = 16
"""Parentheses within parentheses; a multipolygon has three."""

_BRACKET = re.compile(r"[()]")


def loads(text: str) -> shapely.Geometry:
    """The geometry of a WKT.

    Raises:
        ValueError: it is no WKT, or nested too deep.
    """
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth += 1 if bracket[0] == "(" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"WKT nested more than {MAX_DEPTH} levels deep")
    try:
        return shapely.from_wkt(text)
    except (ShapelyError, TypeError) as error:
        raise ValueError(str(error)) from None

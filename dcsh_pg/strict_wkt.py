"""WKT from outside.  All of it is read here, because GEOS overflows the stack on deep nesting."""

from __future__ import annotations

import re

import shapely
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

MAX_DEPTH = 16
"""Nested parentheses; a multipolygon has three."""

_BRACKET = re.compile(r"[()]")


def loads(text: str) -> BaseGeometry:
    """The geometry of a WKT.

    Raises:
        ValueError: it is not WKT, or nested too deep.
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

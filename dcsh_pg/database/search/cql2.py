"""Conditions in CQL2 (OGC 21-065r2), as people write them: text, JSON or a file of JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dcsh_pg import strict_json
from dcsh_pg.errors import InputError, UsageError, storable

_HINT = "for example \"gsd <= 0.5 AND platform = 'a'\", or the same in CQL2-JSON"


def parse_condition(text: str, option: str) -> dict[str, Any]:
    """A condition as CQL2-JSON.

    Args:
        text: CQL2 text, CQL2-JSON, or the path of a file that holds CQL2-JSON.
        option: option that has the text, for messages.

    Raises:
        InputError: the file cannot be read.
        UsageError: not a condition in CQL2.
    """
    if text.endswith(".json"):
        try:
            return _from_json(Path(text).read_text(encoding="utf-8"), f"{option} {text}")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{option}: cannot read {text}: {error}", hint=_HINT) from error
    return parse_text_condition(text, option)


def parse_text_condition(text: str, option: str) -> dict[str, Any]:
    """As :func:`parse_condition`, and reads no file: for text that comes from elsewhere.

    Raises:
        UsageError: not a condition in CQL2.
    """
    if text.lstrip().startswith("{"):
        return _from_json(text, option)
    if storable(text) != text:
        raise UsageError(f"{option}: not text in UTF-8: {text}", hint=_HINT)
    from cql2 import ParseError, parse_text

    try:
        condition = parse_text(text).to_json()
    except ParseError as error:
        raise UsageError(f"{option}: {_one_line(error, text)}", hint=_HINT) from None
    return _checked(condition, f"{option} {text}")


def _from_json(text: str, what: str) -> dict[str, Any]:
    try:
        return _checked(strict_json.loads_checked(text), what)
    except ValueError as error:
        raise UsageError(f"{what} is not JSON: {error}", hint=_HINT) from error


def _checked(condition: object, what: str) -> dict[str, Any]:
    if not isinstance(condition, dict) or "op" not in condition:
        raise UsageError(f"{what} is not a condition", hint=_HINT)
    return condition


def _one_line(error: Exception, text: str) -> str:
    """'not CQL2 at column 7 of ...' from the parser's drawing, which begins ' --> 1:7'."""
    place = str(error).split("\n", 1)[0].rpartition(":")[2].strip()
    return f"not CQL2 at column {place}: {text}"

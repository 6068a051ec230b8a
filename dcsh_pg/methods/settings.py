"""Options of a method from text, as ``--set NAME=VALUE`` gives them."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from dcsh_pg import methods
from dcsh_pg.errors import UsageError

_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def parse(method: str, texts: Sequence[str]) -> dict[str, Any]:
    """Values by name, each of the type of that field of the method's ``Options``.

    Args:
        texts: 'NAME=VALUE' each; a tuple's members are separated by commas.

    Raises:
        UsageError: the method has no such option, or the value is not of its type.
    """
    hints = get_type_hints(methods.get(method).Options)
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise UsageError(f"--set {text} has no value", hint="write --set NAME=VALUE")
        check_known(method, name)
        try:
            values[name] = _convert(value.strip(), hints[name])
        except ValueError as error:
            raise UsageError(f"--set {text}: {error}", hint=describe(method)) from None
    return values


def check_known(method: str, name: str) -> None:
    """Raises UsageError where the method has no such option; its hint tells those that it has."""
    if name not in {field.name for field in dataclasses.fields(methods.get(method).Options)}:
        raise UsageError(
            f"the method {method} has no option {name.replace('_', '-')}", hint=describe(method)
        )


def describe(method: str) -> str:
    """The method's options with their defaults, in one line."""
    fields = dataclasses.fields(methods.get(method).Options)
    return f"{method} has " + ", ".join(f"{field.name}={field.default}" for field in fields)


def _convert(text: str, hint: Any) -> Any:
    origin = get_origin(hint)
    if origin is Literal:
        for choice in get_args(hint):
            if str(choice) == text:
                return choice
        raise ValueError(f"not one of {', '.join(map(str, get_args(hint)))}")
    if origin in (Union, types.UnionType):
        if text.lower() == "none":
            return None
        return _convert(text, next(kind for kind in get_args(hint) if kind is not type(None)))
    if origin is tuple:
        return tuple(_convert(part, get_args(hint)[0]) for part in text.split(","))
    if hint is bool:
        if text.lower() not in _SWITCH:
            raise ValueError("neither true nor false")
        return _SWITCH[text.lower()]
    try:
        return hint(text)
    except ValueError:
        kind = "a whole number" if hint is int else "a number"
        raise ValueError(f"not {kind}") from None

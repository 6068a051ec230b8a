"""Options of a hashing method: their base class, their checks, and how they are read from text."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dcsh_pg.errors import UsageError

_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

O = TypeVar("O", bound="MethodOptions")  # noqa: E741


@dataclass(frozen=True)
class MethodOptions:
    """The options that every method has; a method's own class adds to them.

    Attributes:
        method: the method's name.
        orientations: number of orientations of an image over which the hash function averages z:
            1, 4 (right-angle rotations) or 8 (and their mirror images).

    Raises:
        UsageError: see ``check``.
    """

    method: ClassVar[str]
    orientations: Literal[1, 4, 8] = 1

    def __post_init__(self) -> None:
        self.check()

    @property
    def trains_encoder(self) -> bool:
        """Whether the encoder is trained too; otherwise only a head on its features is."""
        return False

    @classmethod
    def defaults(cls: type[O], *, weights: str, freeze: bool | None) -> O:
        """The defaults for an encoder with these weights.

        Args:
            weights: 'none' where the encoder starts from random weights.
            freeze: whether the encoder stays as it is; None lets the method choose.
        """
        return cls()

    def check(self) -> None:
        """Raises UsageError where a value is out of range; the message names the option."""
        for name, hint in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if get_origin(hint) is Literal and value not in get_args(hint):
                choices = ", ".join(map(str, get_args(hint)))
                raise UsageError(f"{name} {value} is invalid", hint=f"one of: {choices}")

    def require_at_least(self, least: float, *names: str) -> None:
        """Raises UsageError where one of these options is smaller."""
        for name in names:
            value = getattr(self, name)
            if not value >= least:
                raise UsageError(
                    f"{name} must be at least {least}, not {value}",
                    hint=self.default_of(name),
                )

    def require_positive(self, *names: str) -> None:
        """Raises UsageError where one of these options is not above 0."""
        for name in names:
            value = getattr(self, name)
            if not value > 0:
                raise UsageError(
                    f"{name} must be positive, not {value}", hint=self.default_of(name)
                )

    def default_of(self, name: str) -> str:
        """A hint with the default of an option."""
        return f"the default is {getattr(type(self), name)}"

    @classmethod
    def parse(cls, texts: Sequence[str]) -> dict[str, Any]:
        """Reads options from text.

        Args:
            texts: 'NAME=VALUE' each; a tuple's members are separated by commas.

        Returns:
            Values by name, each of its field's type.

        Raises:
            UsageError: the method has no option of that name, or the value is not of its type.
        """
        hints = get_type_hints(cls)
        values = {}
        for text in texts:
            name, equals, value = text.partition("=")
            name = name.strip().replace("-", "_")
            if not equals:
                raise UsageError(f"--set {text} has no value", hint="write --set NAME=VALUE")
            cls.check_names([name])
            try:
                values[name] = _convert(value.strip(), hints[name])
            except ValueError as error:
                raise UsageError(f"--set {text}: {error}", hint=cls.describe()) from None
        return values

    @classmethod
    def check_names(cls, names: Sequence[str]) -> None:
        """Raises UsageError where the method lacks one of these options; the hint lists all."""
        known = {field.name for field in dataclasses.fields(cls)}
        for name in names:
            if name not in known:
                raise UsageError(
                    f"the method {cls.method} has no option {name}", hint=cls.describe()
                )

    @classmethod
    def describe(cls) -> str:
        """The options with their defaults, in one line."""
        fields = dataclasses.fields(cls)
        return f"{cls.method} has " + ", ".join(f"{f.name}={f.default}" for f in fields)


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
        if text.lower() not in _BOOLEANS:
            raise ValueError("neither true nor false")
        return _BOOLEANS[text.lower()]
    try:
        return hint(text)
    except ValueError:
        kind = "a whole number" if hint is int else "a number"
        raise ValueError(f"not {kind}") from None

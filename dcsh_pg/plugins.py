"""Methods and encoders by name: those built in, and those that installed packages add.

A package adds one by an entry point in the group ``dcsh_pg.methods`` or ``dcsh_pg.encoders``.  Names
come from source files and metadata; the code behind a name is imported when it is asked for.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from dcsh_pg.errors import DcshError, UsageError

ROOT = Path(__file__).parent


class Registry:
    """Named objects of one kind.

    Args:
        kind: 'method' or 'encoder', for messages and for the group of entry points.
        find_builtin: the names of those built in, each with the module that has it.
        table: the module's dictionary that has it by name; None where it is the module itself.
        patterns: other names that are understood, for messages.
        unlisted: names of those built in that users do not choose.
    """

    def __init__(
        self,
        kind: str,
        find_builtin: Callable[[], Iterator[tuple[str, str]]],
        table: str | None = None,
        patterns: tuple[str, ...] = (),
        unlisted: tuple[str, ...] = (),
    ):
        self.kind, self.table, self.patterns, self.unlisted = kind, table, patterns, unlisted
        self._find_builtin = find_builtin

    @cached_property
    def builtin(self) -> dict[str, str]:
        """Name -> module of those built in."""
        return dict(self._find_builtin())

    def names(self) -> list[str]:
        """The names to choose from, built-in ones first; imports nothing."""
        found = [*self.builtin, *sorted(p.name for p in self._installed())]
        return [name for name in dict.fromkeys(found) if name not in self.unlisted]

    def load(self, name: str) -> Any:
        """The object of that name; of MODULE:NAME, the object of that name in that module.

        Raises:
            UsageError: nothing has that name, or more than one thing has.
            DcshError: the package that adds it cannot be imported.
        """
        found = [point for point in self._installed() if point.name == name]
        if found and (name in self.builtin or len(found) > 1):
            sources = ["dcsh-pg"] * (name in self.builtin) + [_package(point) for point in found]
            raise UsageError(
                f"more than one {self.kind} is named {name!r}: of {' and of '.join(sources)}",
                hint="uninstall one of these packages, or rename its entry point",
            )
        if name in self.builtin:
            module = import_module(self.builtin[name])
            return getattr(module, self.table)[name] if self.table else module
        if not found and _is_address(name):
            found = [EntryPoint(name, name, "")]
        if not found:
            raise UsageError(
                f"unknown {self.kind} {name!r}",
                hint=f"one of: {', '.join([*self.names(), *self.patterns])}",
            )
        try:
            return found[0].load()
        except Exception as error:  # whatever a package raises when it is imported
            package = _package(found[0])
            raise (DcshError if package else UsageError)(
                f"cannot import the {self.kind} {name!r}{package and f' of {package}'}: "
                f"{type(error).__name__}: {error}",
                hint="reinstall the package, or put its folder on PYTHONPATH",
            ) from error

    def _installed(self) -> list[EntryPoint]:
        return list(entry_points(group=f"dcsh_pg.{self.kind}s"))


def import_address(address: str) -> Any:
    """The object at MODULE:NAME, or None where there is none."""
    with suppress(ImportError, AttributeError):
        return EntryPoint("", address, "").load() if _is_address(address) else None
    return None


def _is_address(name: str) -> bool:
    """Whether a name is MODULE:NAME."""
    module, _, attribute = name.partition(":")
    return all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")])


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else ""


def _method_modules() -> Iterator[tuple[str, str]]:
    """Every module of ``methods`` is the method of its name."""
    for file in sorted((ROOT / "methods").glob("[a-z]*.py")):
        yield file.stem, f"dcsh_pg.methods.{file.stem}"


def _encoder_modules() -> Iterator[tuple[str, str]]:
    """The keys of ``ENCODERS = {...}`` in the modules of ``encoders``.

    They are read from the source because importing the modules takes torch, and seconds.
    """
    for file in sorted((ROOT / "learning" / "encoders").glob("[a-z]*.py")):
        for statement in ast.parse(file.read_text("utf-8")).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id="ENCODERS")], value=ast.Dict(keys=keys)):
                    for key in keys:
                        if isinstance(key, ast.Constant) and isinstance(key.value, str):
                            yield key.value, f"dcsh_pg.learning.encoders.{file.stem}"


METHODS = Registry("method", _method_modules)
ENCODERS = Registry(
    "encoder",
    _encoder_modules,
    table="ENCODERS",
    patterns=("onnx:FILE", "timm:NAME", "torchgeo:NAME", "open_clip:NAME", "MODULE:NAME"),
    unlisted=("vector",),  # of --embeddings
)

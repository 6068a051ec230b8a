"""What dcsh-pg finds on a machine and in a database, and what to do about what is missing.

Nothing is changed: the embedded server is neither created nor started.  torch is never imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

from dcsh_pg.doctor.finding import MISSING, OK, PROBLEM, Finding
from dcsh_pg.errors import DcshError

__all__ = ["MISSING", "OK", "PROBLEM", "Finding", "examine"]

_MACHINE = (
    "versions",
    "libraries",
    "onnxruntime",
    "gpu",
    "hashing",
    "extras",
    "weights",
    "disk",
)


def examine(dsn: str | None = None, *, pg_bin: Path | None = None) -> Iterator[Finding]:
    """Yields a finding for each thing that dcsh-pg needs or can use; never raises.

    Args:
        dsn, pg_bin: the server, as :func:`dcsh_pg.database.server.connect.resolve` takes them.
    """
    for name in _MACHINE:
        yield from _guarded(name, partial(_call, "machine", name))
    yield from _guarded("compiler", partial(_call, "server", "compiler", dsn, pg_bin))
    yield from _guarded("server", partial(_call, "server", "server", dsn, pg_bin))


def _call(module: str, name: str, *arguments: object) -> Iterable[Finding]:
    """Calls a check; imports it now, because what it imports may be broken."""
    check: Callable[..., Iterable[Finding]] = getattr(
        import_module(f"dcsh_pg.doctor.{module}"), name
    )
    return check(*arguments)


def _guarded(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of a check, and an error as one more."""
    try:
        yield from check()
    except DcshError as error:
        yield Finding(name, PROBLEM, error.message, error.hint)
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0]
        yield Finding(name, PROBLEM, f"{type(error).__name__}: {first_line}")

"""Libraries that only some tasks need, each in an extra of the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from dcsh_pg.errors import DcshError, OutputError

LIBRARIES = {"geo": ("geopandas", "pyarrow", "pyogrio"), "plot": ("matplotlib",)}
"""Extra -> the libraries of it that outputs use."""


@contextmanager
def requires(extra: str, what: str, error: type[DcshError] = DcshError) -> Iterator[None]:
    """Reports a library that the block imports and that is not installed.

    Args:
        extra: contains the library; several are separated by commas.
        what: the task that needs it, 'write hits.fgb' for example.

    Raises:
        DcshError: of type ``error``; names the library and the extra.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("dcsh_pg"):
            raise
        raise error(
            f"cannot {what}: {missing.name} is not installed",
            hint=f"pip install 'dcsh-pg[{extra}]'",
        ) from missing


def require(extra: str, what: str) -> None:
    """Checks before any work that the libraries of an extra, 'geo' or 'plot', are installed.

    Raises:
        OutputError: as :func:`requires`.
    """
    with requires(extra, what, OutputError):
        for library in LIBRARIES[extra]:
            import_module(library)

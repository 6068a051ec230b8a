"""Libraries that only some outputs need."""

from __future__ import annotations

from importlib import import_module

from dcsh_pg.errors import OutputError

LIBRARIES = {
    "geo": ("geopandas", "pyarrow", "pyogrio"),
    "plot": ("matplotlib",),
}
"""Extra -> the libraries of it that outputs use."""


def require(extra: str, what: str) -> None:
    """Checks before any work that the libraries of an extra are installed.

    Args:
        extra: 'geo' or 'plot'.
        what: the task that needs them, 'write hits.fgb' for example.

    Raises:
        OutputError: one is not installed; names it and the extra.
    """
    for library in LIBRARIES[extra]:
        try:
            import_module(library)
        except ImportError as error:
            raise OutputError(
                f"cannot {what}: {error.name} is not installed",
                hint=f"pip install 'dcsh-pg[{extra}]'",
            ) from error

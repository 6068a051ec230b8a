"""dcsh-pg: search an imagery archive by example, in SQL.

``Archive`` is the door for programs; everything it does, the command line and psql do as well.
Names are loaded on first use, so that ``import dcsh_pg`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcsh_pg.archive import Archive
    from dcsh_pg.card import ModelCard
    from dcsh_pg.errors import DcshError
    from dcsh_pg.hasher import Hasher

__version__ = "0.1.0"
__all__ = ["Archive", "DcshError", "Hasher", "ModelCard", "__version__"]

_HOMES = {
    "Archive": "dcsh_pg.archive",
    "DcshError": "dcsh_pg.errors",
    "Hasher": "dcsh_pg.hasher",
    "ModelCard": "dcsh_pg.card",
}


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dcsh_pg' has no attribute {name!r}")

"""dcsh-pg: search an imagery archive by example, in SQL.

``Archive`` ingests and searches; the command line and psql return the same rows.
Names are loaded on first use, so that ``import dcsh_pg`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcsh_pg.archive import Archive
    from dcsh_pg.card import ModelCard
    from dcsh_pg.database.search.filter import Filter
    from dcsh_pg.database.search.query import ChipQuery, CodeQuery, ExamplesQuery, RegionQuery
    from dcsh_pg.errors import DcshError
    from dcsh_pg.hasher import Hasher

__version__ = "0.2.0"
__all__ = [
    "Archive",
    "ChipQuery",
    "CodeQuery",
    "DcshError",
    "ExamplesQuery",
    "Filter",
    "Hasher",
    "ModelCard",
    "RegionQuery",
    "__version__",
]

_HOMES = {
    "Archive": "dcsh_pg.archive",
    "ChipQuery": "dcsh_pg.database.search.query",
    "CodeQuery": "dcsh_pg.database.search.query",
    "DcshError": "dcsh_pg.errors",
    "ExamplesQuery": "dcsh_pg.database.search.query",
    "Filter": "dcsh_pg.database.search.filter",
    "Hasher": "dcsh_pg.hasher",
    "ModelCard": "dcsh_pg.card",
    "RegionQuery": "dcsh_pg.database.search.query",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dcsh_pg' has no attribute {name!r}")

"""A search from the dock: runs off the main thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from qgis.core import QgsFeedback, QgsGeometry

from . import statements
from .connection import Connection, rows
from .queries import Archive, ChipQuery, ExamplesQuery, Filter, InvalidInput, Query, RegionQuery

Resolve = Callable[[Connection, Archive, QgsFeedback], Query]
"""Makes the query, by a question to the database or to dcsh-pg where it needs one."""


@dataclass(frozen=True)
class Found:
    """What a search found: its query, the rows of its hits and those of the query's own places."""

    query: Query
    hits: list[dict[str, Any]]
    examples: list[dict[str, Any]]


def find(
    connection: Connection,
    archive: Archive,
    resolve: Resolve,
    filter: Filter,
    k: int,
    feedback: QgsFeedback,
) -> Found:
    """Searches an archive over a connection.

    Raises:
        DatabaseError, InvalidInput, Cancelled: the search was not answered.
    """
    query = resolve(connection, archive, feedback)
    hits = rows(connection, statements.search(archive, query, filter, k), feedback)
    return Found(query, hits, _examples(connection, archive, query, feedback))


def chip_at(
    lon: float, lat: float, connection: Connection, archive: Archive, feedback: QgsFeedback
) -> ChipQuery:
    """The query for the chip at a place.

    Raises:
        InvalidInput: there is none.
        DatabaseError, Cancelled: it was not answered.
    """
    [row] = rows(connection, statements.chip_at(archive, lon, lat), feedback)
    if row["id"] is None:
        raise InvalidInput(f"archive '{archive.name}' has no chip at this place")
    return ChipQuery(row["id"])


def _examples(
    connection: Connection, archive: Archive, query: Query, feedback: QgsFeedback
) -> list[dict[str, Any]]:
    if isinstance(query, RegionQuery):
        text = bytes(QgsGeometry.fromWkt(query.region).asWkb()).hex()
        return [{"id": None, "geom": text}]
    chosen = (query.chip,) if isinstance(query, ChipQuery) else ()
    if isinstance(query, ExamplesQuery):
        chosen = query.likes
    if not chosen:
        return []
    return rows(connection, statements.chips(archive, chosen), feedback)

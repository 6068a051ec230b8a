"""The search: one statement for every query, ordered by (distance, id)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from dcsh_pg import codes
from dcsh_pg.database.archives import spatial
from dcsh_pg.database.archives.approximation import approximation
from dcsh_pg.database.search.call import area_of, call, filter_arguments
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.query import ChipQuery, CodeQuery, ExamplesQuery, Query
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.errors import UsageError


@dataclass(frozen=True)
class Hit:
    """A chip that was found.

    Attributes:
        id: key of the chip in its archive.
        distance: Hamming distance to the query in bits.
        scene_id: scene it was cut from.
        uri: of that scene.
        window: col_off, row_off, width, height in pixels of the scene.
        footprint: GeoJSON geometry in longitude and latitude, or None.
        acquired: when the picture was taken, UTC, or None.
        valid_fraction: share of its pixels that are valid.
        properties: of the scene.
        collection: STAC collection id of the scene, or None.
        item_id: STAC item id of the scene, or None.
        approximate: an approximate index may have answered, and missed nearer chips.
        pair_share: share of random pairs of the archive's chips that are at most as far apart, 0 to 1:
            ``dcsh.pair_share``; None where it has fewer than two.
    """

    id: int
    distance: int
    scene_id: int
    uri: str
    window: tuple[int, int, int, int]
    footprint: dict[str, Any] | None
    acquired: datetime | None
    valid_fraction: float
    properties: dict[str, Any]
    collection: str | None = None
    item_id: str | None = None
    approximate: bool = False
    pair_share: float | None = None


HIT_COLUMNS = """
    h.id, h.distance, h.scene_id, s.uri, h.col_off, h.row_off, h.width, h.height, h.geom::text,
    h.acquired, h.valid_fraction, s.properties, s.collection, s.item_id
"""
"""What :func:`hit_of` takes of a chip ``h`` and its scene ``s``."""

PAIR_SHARE = "(SELECT dcsh_private.pair_shares({}))[h.distance + 1]"
"""The ``pair_share`` of a hit ``h`` in the archive of that name; the subquery runs once."""


def hits(
    conn: psycopg.Connection,
    archive_name: str,
    query: Query,
    filter: Filter = Filter(),
    k: int | None = 10,
) -> list[Hit]:
    """The ``k`` chips of an archive that are most similar to a query, of those that pass a filter.

    Chips that the query names are left out.  ``k`` None, with a :class:`CodeQuery`, is all chips
    within ``filter.max_distance``: ``dcsh.within``, which is always exact.

    Raises:
        NotFound: no such chip, or no chip covers the region.
        UsageError: the code has another length than the archive's, k is not positive, or a chip is
            among both likes and unlikes.
        ServerError: ``filter.stac`` is given and the database has no pgstac.
    """
    with sql_errors():
        rows = conn.execute(
            sql.SQL(
                "SELECT " + PAIR_SHARE + "," + HIT_COLUMNS + " FROM {} WITH ORDINALITY h "
                "JOIN dcsh.scene s ON s.id = h.scene_id ORDER BY h.ordinality"
            ).format(sql.Literal(archive_name), _call(conn, archive_name, query, filter, k))
        ).fetchall()
    found = [hit_of(row, pair_share) for pair_share, *row in rows]
    if found and _may_be_approximate(conn, archive_name, query, k):
        found = [replace(hit, approximate=True) for hit in found]
    return found


def _may_be_approximate(
    conn: psycopg.Connection, archive_name: str, query: Query, k: int | None
) -> bool:
    is_exact = query.exact or k is None or getattr(query, "rule", "min") != "min"
    return not is_exact and approximation(conn, archive_name) is not None


def layer_call(
    conn: psycopg.Connection, archive_name: str, query: Query, filter: Filter, k: int
) -> sql.Composed:
    """The same search as a layer of a GIS: a query with key ``id``, footprint ``geom`` and ``rank``."""
    return sql.SQL(
        "SELECT h.*, s.uri, s.collection, s.item_id FROM {} WITH ORDINALITY h(id, distance, scene_id, "
        "col_off, row_off, width, height, geom, acquired, valid_fraction, rank) "
        "JOIN dcsh.scene s ON s.id = h.scene_id"
    ).format(_call(conn, archive_name, query, filter, k))


def search_sql(
    conn: psycopg.Connection, archive_name: str, query: Query, filter: Filter, k: int
) -> str:
    """The same search as text for psql: a statement without parameters."""
    search = layer_call(conn, archive_name, query, filter, k).as_string(conn)
    return f"{search}\nORDER BY h.rank;\n"


def _call(
    conn: psycopg.Connection, archive_name: str, query: Query, filter: Filter, k: int | None
) -> sql.Composed:
    """The SQL function that answers a query; its rows are of type ``dcsh.hit``."""
    arguments = {"archive": archive_name, **filter_arguments(conn, archive_name, filter)}
    exact = None if query.exact else False
    if isinstance(query, CodeQuery | ChipQuery) and query.refine:
        arguments["refine"] = _real_values(query)
    if isinstance(query, CodeQuery):
        arguments["code"] = codes.to_text(np.frombuffer(query.code, np.uint8))
        if k is None:
            if filter.max_distance is None:
                raise UsageError(
                    "neither k nor max_distance is given", hint="k=10, or Filter(max_distance=8)"
                )
            arguments["radius"] = arguments.pop("max_distance")
            return call("within", **arguments)
        return call("similar", k=k, exact=exact, **arguments)
    arguments |= {"k": sql.NULL if k is None else k, "exact": exact}
    if isinstance(query, ChipQuery):
        return call("similar_to", id=query.chip, **arguments)
    if isinstance(query, ExamplesQuery):
        examples = {"likes": list(query.likes), "unlikes": list(query.unlikes)}
        return call("similar_to_examples", rule=query.rule, **examples, **arguments)
    return call(
        "similar_region",
        region=area_of(conn, query.region),
        rule=query.rule,
        min_share=query.min_share,
        **arguments,
    )


def _real_values(query: CodeQuery | ChipQuery) -> list[float]:
    if query.z is None:
        raise UsageError(
            f"the real values of {query.caption} are not known, so ties cannot be refined",
            hint="refine a search by an image or a vector",
        )
    return [float(value) for value in query.z]


def hit_of(row: Sequence[Any], pair_share: float | None = None) -> Hit:
    """A hit from ``HIT_COLUMNS``."""
    id, distance, scene_id, uri, *window, geom, acquired, valid_fraction = row[:-3]
    properties, collection, item_id = row[-3:]
    col_off, row_off, width, height = window
    return Hit(
        id, distance, scene_id, uri, (col_off, row_off, width, height), spatial.footprint(geom),
        acquired, valid_fraction, properties, collection, item_id, pair_share=pair_share,
    )  # fmt: skip

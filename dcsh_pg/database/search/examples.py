"""Search by several examples and by a region; filters and order as in ``database/search/similar.py``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import psycopg
from shapely.geometry.base import BaseGeometry

from dcsh_pg.database.search.similar import Hit, area_of, hits_of

Rule = Literal["min", "mean"]
"""Distance to several examples: to the nearest of them, or the mean to all in whole bits."""


def similar_to_examples(
    conn: psycopg.Connection,
    archive_name: str,
    likes: Sequence[int],
    unlikes: Sequence[int] = (),
    *,
    rule: Rule = "min",
    k: int = 10,
    area: BaseGeometry | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    max_distance: int | None = None,
) -> list[Hit]:
    """The ``k`` chips most like the chips ``likes``: ``dcsh.similar_to_examples``.

    A chip that is nearer to ``unlikes`` than to ``likes``, both by ``rule``, is no hit; nor are
    the examples themselves.

    Raises:
        NotFound: no such archive or chip.
        UsageError: no likes, a chip among both, or as :func:`dcsh_pg.database.search.similar.similar`.
    """
    return hits_of(
        conn,
        "dcsh.similar_to_examples",
        archive=archive_name,
        likes=list(likes),
        unlikes=list(unlikes),
        k=k,
        rule=rule,
        area=area_of(conn, area),
        since=since,
        until=until,
        max_distance=max_distance,
    )


def similar_region(
    conn: psycopg.Connection,
    archive_name: str,
    region: BaseGeometry,
    *,
    rule: Rule = "min",
    min_share: float = 0.6,
    k: int = 10,
    area: BaseGeometry | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    max_distance: int | None = None,
) -> list[Hit]:
    """The ``k`` chips most like those that cover ``region``, which are left out: ``dcsh.similar_region``.

    Args:
        region: shapely geometry in EPSG:4326.
        min_share: of the chips that meet it those count whose overlap with it is at least this
            share, 0 to 1, of the greatest overlap.

    Raises:
        NotFound: no such archive, or no chip covers the region.
        UsageError: as :func:`dcsh_pg.database.search.similar.similar`.
    """
    return hits_of(
        conn,
        "dcsh.similar_region",
        archive=archive_name,
        region=area_of(conn, region),
        k=k,
        rule=rule,
        min_share=min_share,
        area=area_of(conn, area),
        since=since,
        until=until,
        max_distance=max_distance,
    )

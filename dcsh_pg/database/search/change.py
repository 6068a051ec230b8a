"""Change between two periods: ``dcsh.change``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.range import TimestamptzRange
from shapely.geometry.base import BaseGeometry

from dcsh_pg.database.archives import spatial
from dcsh_pg.database.search.similar import area_of
from dcsh_pg.database.server.pg_errors import sql_errors

Period = tuple[datetime | None, datetime | None]
"""From a time on and before a time; None is without limit on that side."""


@dataclass(frozen=True)
class Change:
    """A place that was seen in both periods.

    Attributes:
        distance: Hamming distance between its code after and before, in bits.
        id: chip after, the newest of its period.
        before_id: chip before, the newest of its period.
        overlap: share of the larger footprint that both chips have, above 0 and up to 1.
        acquired: when the chip after was taken, UTC.
        before_acquired: when the chip before was taken, UTC.
        uri: scene of the chip after.
        before_uri: scene of the chip before.
        footprint: of the chip after, GeoJSON geometry in longitude and latitude.
    """

    distance: int
    id: int
    before_id: int
    overlap: float
    acquired: datetime
    before_acquired: datetime
    uri: str
    before_uri: str
    footprint: dict[str, Any]


def change(
    conn: psycopg.Connection,
    archive_name: str,
    before: Period,
    after: Period,
    *,
    area: BaseGeometry | None = None,
    min_overlap: float = 0.5,
    k: int | None = None,
) -> list[Change]:
    """What changed between two periods, most first, by (-distance, id): ``dcsh.change``.

    Args:
        area: shapely geometry in EPSG:4326 that the footprint of the chip after must meet.
        min_overlap: least share of the larger footprint that the two chips of a place have.
        k: only so many; None is all.

    Raises:
        NotFound: no such archive.
        UsageError: ``before`` does not lie before ``after``, or the area cannot be searched.
    """
    arguments = {
        "archive": archive_name,
        "before": TimestamptzRange(*before),
        "after": TimestamptzRange(*after),
        "area": area_of(conn, area),
        "min_overlap": min_overlap,
        "k": k,
    }
    with sql_errors():
        rows = conn.execute(
            """
            SELECT h.distance, h.id, h.before_id, h.overlap, h.acquired, h.before_acquired,
                   s.uri, b.uri, h.geom::text
            FROM dcsh.change(
                    archive => %(archive)s::text, before => %(before)s, after => %(after)s,
                    area => %(area)s::dcsh.area, min_overlap => %(min_overlap)s,
                    k => %(k)s::integer) h
                JOIN dcsh.scene s ON s.id = h.scene_id
                JOIN dcsh.scene b ON b.id = h.before_scene_id
            ORDER BY h.distance DESC, h.id
            """,
            arguments,
        ).fetchall()
    return [Change(*row[:-1], spatial.footprint(row[-1])) for row in rows]

"""Change between two periods: ``dcsh.change``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.range import TimestamptzRange

from dcsh_pg.database.archives import spatial
from dcsh_pg.database.search.call import call, filter_arguments
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.period import Period
from dcsh_pg.database.server.pg_errors import sql_errors


@dataclass(frozen=True)
class Change:
    """A place with a chip in both periods.

    Attributes:
        distance: Hamming distance between its code after and before, in bits.
        id: chip after, the newest of its period.
        before_id: chip before, the newest of its period.
        overlap: overlap of the two footprints as a share of the larger, above 0 and up to 1.
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
    footprint: dict[str, Any] | None


def find_changes(
    conn: psycopg.Connection,
    archive_name: str,
    before: Period,
    after: Period,
    filter: Filter = Filter(),
    *,
    min_overlap: float = 0.5,
    k: int | None = None,
) -> list[Change]:
    """What changed between two periods, most first, by (-distance, id): ``dcsh.change``.

    Args:
        filter: which chips of the later period to compare; the periods are its times.
        min_overlap: least share of the larger footprint that the two chips of a place share.
        k: at most so many; None is all.

    Raises:
        UsageError: ``before`` does not lie before ``after``.
    """
    without = ("since", "until", "max_distance")
    changes = call(
        "change",
        archive=archive_name,
        before=TimestamptzRange(*before),
        after=TimestamptzRange(*after),
        min_overlap=min_overlap,
        k=k,
        **filter_arguments(conn, archive_name, filter, without=without),
    )
    with sql_errors():
        rows = conn.execute(
            sql.SQL(
                """
                SELECT h.distance, h.id, h.before_id, h.overlap, h.acquired, h.before_acquired,
                       s.uri, b.uri, h.geom::text
                FROM {} h
                    JOIN dcsh.scene s ON s.id = h.scene_id
                    JOIN dcsh.scene b ON b.id = h.before_scene_id
                ORDER BY h.distance DESC, h.id
                """
            ).format(changes)
        ).fetchall()
    return [Change(*[*row, spatial.footprint(geom)]) for *row, geom in rows]

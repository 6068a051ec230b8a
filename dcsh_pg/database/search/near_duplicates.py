"""Near duplicates: ``dcsh.near_duplicates``."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from dcsh_pg.database.search.call import call, filter_arguments
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import HIT_COLUMNS, PAIR_SHARE, Hit, hit_of
from dcsh_pg.database.server.pg_errors import sql_errors


@dataclass(frozen=True)
class NearDuplicate:
    """A chip in a group of near duplicates.

    Attributes:
        group_id: the smallest chip id of the group.
        chip: the chip; its ``distance`` is measured to chip ``group_id`` and exceeds the radius
            where only other chips of the group connect the two.
    """

    group_id: int
    chip: Hit


def near_duplicates(
    conn: psycopg.Connection, archive_name: str, radius: int, filter: Filter = Filter()
) -> list[NearDuplicate]:
    """Groups of chips connected by steps of at most ``radius`` bits, by (group_id, id).

    Every group has at least two chips.

    Raises:
        UsageError: the radius is negative or as long as a code.
    """
    conditions = filter_arguments(conn, archive_name, filter, without=["max_distance"])
    found = call("near_duplicates", archive=archive_name, radius=radius, **conditions)
    with sql_errors():
        rows = conn.execute(
            sql.SQL(
                "SELECT h.group_id, " + PAIR_SHARE + "," + HIT_COLUMNS + " FROM {} h "
                "JOIN dcsh.scene s ON s.id = h.scene_id ORDER BY h.group_id, h.id"
            ).format(sql.Literal(archive_name), found)
        ).fetchall()
    return [NearDuplicate(group, hit_of(row, share)) for group, share, *row in rows]

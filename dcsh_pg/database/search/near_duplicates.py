"""Near duplicates: ``dcsh.near_duplicates``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from shapely.geometry.base import BaseGeometry

from dcsh_pg.database.archives import spatial
from dcsh_pg.database.search.similar import area_of
from dcsh_pg.database.server.pg_errors import sql_errors


@dataclass(frozen=True)
class NearDuplicate:
    """A chip in a group of near duplicates.

    Attributes:
        group_id: the smallest id of its group.
        id: key of the chip in its archive.
        distance: Hamming distance to chip ``group_id`` in bits; more than the radius where only
            other chips of the group connect the two.
        scene_id: scene it was cut from.
        uri: of that scene.
        window: col_off, row_off, width, height in pixels of the scene.
        footprint: GeoJSON geometry in longitude and latitude, or None.
        acquired: when the picture was taken, UTC, or None.
        valid_fraction: share of its pixels that are valid.
        properties: of the scene.
    """

    group_id: int
    id: int
    distance: int
    scene_id: int
    uri: str
    window: tuple[int, int, int, int]
    footprint: dict[str, Any] | None
    acquired: datetime | None
    valid_fraction: float
    properties: dict[str, Any]


def near_duplicates(
    conn: psycopg.Connection,
    archive_name: str,
    radius: int,
    *,
    area: BaseGeometry | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[NearDuplicate]:
    """Groups of chips connected by steps of at most ``radius`` bits, by (group_id, id).

    ``dcsh.near_duplicates``; every group has two chips or more.  ``area``, ``since`` and ``until``
    choose the chips as :func:`dcsh_pg.database.search.similar.similar` does.

    Raises:
        NotFound: no such archive.
        UsageError: the radius is negative or as long as a code, or the area cannot be searched.
    """
    arguments = {
        "archive": archive_name,
        "radius": radius,
        "area": area_of(conn, area),
        "since": since,
        "until": until,
    }
    with sql_errors():
        rows = conn.execute(
            """
            SELECT d.group_id, d.id, d.distance, d.scene_id, s.uri, d.col_off, d.row_off, d.width,
                   d.height, d.geom::text, d.acquired, d.valid_fraction, s.properties
            FROM dcsh.near_duplicates(
                    archive => %(archive)s::text, radius => %(radius)s::integer,
                    area => %(area)s::dcsh.area, since => %(since)s::timestamptz,
                    until => %(until)s::timestamptz) d
                JOIN dcsh.scene s ON s.id = d.scene_id
            ORDER BY d.group_id, d.id
            """,
            arguments,
        ).fetchall()
    return [_near_duplicate(row) for row in rows]


def _near_duplicate(row: tuple) -> NearDuplicate:
    group_id, id, distance, scene_id, uri, *window, geom, acquired, valid_fraction, properties = row
    return NearDuplicate(
        group_id, id, distance, scene_id, uri, tuple(window), spatial.footprint(geom), acquired,
        valid_fraction, properties,
    )  # fmt: skip

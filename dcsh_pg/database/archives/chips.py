"""The chips of an archive as columns, for programs that want all of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import psycopg
import shapely
from shapely.geometry.base import BaseGeometry

from dcsh_pg.database.archives import spatial
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.errors import UsageError

COLUMNS: dict[str, type] = {
    "id": int,
    "scene_id": int,
    "uri": str,
    "acquired": datetime,
    "col_off": int,
    "row_off": int,
    "width": int,
    "height": int,
    "valid_fraction": float,
    "code": str,
}
"""What :func:`chips` gives of each chip beside its footprint; ``code`` is hexadecimal."""


def chips(
    conn: psycopg.Connection,
    archive_name: str,
    *,
    area: BaseGeometry | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> tuple[dict[str, list[Any]], np.ndarray]:
    """The chips that meet the conditions, by id, at most ``limit`` of them: ``dcsh._chips``.

    The conditions are those of :mod:`dcsh_pg.database.search.similar`.

    Returns:
        ``COLUMNS`` with a list of N values each; footprints, object (N,), shapely polygons in
        longitude and latitude or None.

    Raises:
        NotFound: no such archive.
        UsageError: the area cannot be searched, or the limit is negative.
    """
    if limit is not None and limit < 0:
        raise UsageError(f"limit must not be negative, not {limit}", hint="None gives all chips")
    text = None if area is None else spatial.area_text(area, spatial.layer_of(conn))
    with sql_errors(), conn.cursor(binary=True) as cursor:
        cursor.execute(
            f"""
            SELECT {", ".join(COLUMNS)}, footprint
            FROM dcsh._chips(
                %s::text, area => %s::text::dcsh.area, since => %s::timestamptz,
                until => %s::timestamptz, most => %s::bigint)
            ORDER BY id
            """,
            [archive_name, text, since, until, limit],
        )
        rows = cursor.fetchall()
    *columns, footprints = zip(*rows, strict=True) if rows else [()] * (len(COLUMNS) + 1)
    named = {name: list(values) for name, values in zip(COLUMNS, columns, strict=True)}
    return named, shapely.from_wkb(np.array(footprints, dtype=object))

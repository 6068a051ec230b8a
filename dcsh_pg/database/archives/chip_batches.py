"""All chips of an archive with their scenes, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import shapely

from dcsh_pg.database.server.pg_errors import sql_errors

COLUMNS = (
    "id", "uri", "collection", "item_id", "col_off", "row_off", "width", "height", "acquired",
    "valid_fraction", "code",
)  # fmt: skip
"""The columns that :func:`batches` yields beside the footprints; ``code`` is K/8 bytes."""


def batches(
    conn: psycopg.Connection, archive_name: str, size: int
) -> Iterator[tuple[dict[str, tuple[Any, ...]], np.ndarray]]:
    """All chips of an archive with their scenes, by id, ``size`` of them at a time: ``dcsh_private.chips``.

    Yields:
        ``COLUMNS`` with a tuple of N values each; footprints, object (N,), shapely polygons in
        longitude and latitude or None.

    Raises:
        NotFound: no such archive.
    """
    with sql_errors(), conn.transaction(), conn.cursor("dcsh_batches", binary=True) as cursor:
        cursor.execute(
            """
            SELECT c.id, c.uri, s.collection, s.item_id, c.col_off, c.row_off, c.width, c.height,
                   c.acquired, c.valid_fraction, decode(c.code, 'hex'), c.footprint
            FROM dcsh_private.chips(%s::text) c JOIN dcsh.scene s ON s.id = c.scene_id
            ORDER BY c.id
            """,
            [archive_name],
        )
        while rows := cursor.fetchmany(size):
            *columns, footprints = zip(*rows, strict=True)
            yield (
                dict(zip(COLUMNS, columns, strict=True)),
                shapely.from_wkb(np.array(footprints, dtype=object)),
            )

"""All that an archive holds, for telling it to other programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
import shapely

from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import scalar

COLUMNS = (
    "id", "uri", "collection", "item_id", "col_off", "row_off", "width", "height", "acquired",
    "valid_fraction", "code",
)  # fmt: skip
"""What :func:`batches` gives of each chip beside its footprint; ``code`` is K/8 bytes."""


@contextmanager
def snapshot(conn: psycopg.Connection) -> Iterator[None]:
    """What is read in the block is of one moment, whatever is ingested meanwhile.

    Raises:
        ServerError: the connection is in a transaction already.
    """
    with sql_errors(), conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def batches(
    conn: psycopg.Connection, archive_name: str, size: int
) -> Iterator[tuple[dict[str, tuple], np.ndarray]]:
    """All chips of an archive with their scenes, by id, ``size`` of them at a time: ``dcsh._chips``.

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
            FROM dcsh._chips(%s::text) c JOIN dcsh.scene s ON s.id = c.scene_id
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


def scene_summaries(conn: psycopg.Connection, archive_name: str) -> dict[str, Any]:
    """Property of the scenes -> its range or its values: ``dcsh._scene_summaries``.

    Raises:
        NotFound: no such archive.
    """
    with sql_errors():
        return scalar(conn, dict, "SELECT dcsh._scene_summaries(%s)", [archive_name])

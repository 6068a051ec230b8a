"""The chips of an archive: one, the one at a place, with their labels, or all as columns."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import shapely
from psycopg import sql

from dcsh_pg.database.search.call import call, filter_arguments
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import HIT_COLUMNS, Hit, hit_of
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row, scalar
from dcsh_pg.errors import NotFound, UsageError

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
"""The columns of :func:`chips`; ``code`` is hexadecimal."""


def chips(
    conn: psycopg.Connection,
    archive_name: str,
    filter: Filter = Filter(),
    *,
    limit: int | None = None,
) -> tuple[dict[str, list[Any]], npt.NDArray[np.object_]]:
    """The chips that pass a filter, by id, at most ``limit`` of them: ``dcsh_private.chips``.

    Returns:
        ``COLUMNS`` with a list of N values each; footprints, object (N,), shapely polygons in
        longitude and latitude or None.

    Raises:
        UsageError: the limit is negative.
    """
    if limit is not None and limit < 0:
        raise UsageError(f"limit must not be negative, not {limit}", hint="None gives all chips")
    conditions = filter_arguments(conn, archive_name, filter, without=["max_distance"])
    asked = sql.SQL("SELECT " + ", ".join(COLUMNS) + ", footprint FROM {} ORDER BY id").format(
        call("dcsh_private.chips", archive=archive_name, most=limit, **conditions)
    )
    with sql_errors(), conn.cursor(binary=True) as cursor:
        rows = cursor.execute(asked).fetchall()
    columns = list(zip(*rows, strict=True)) or [()] * (len(COLUMNS) + 1)
    named = {name: list(values) for name, values in zip(COLUMNS, columns[:-1], strict=True)}
    return named, shapely.from_wkb(np.array(columns[-1], dtype=object))


def chip(conn: psycopg.Connection, archive_name: str, id: int) -> Hit:
    """A chip by its id, at distance 0.

    Raises:
        NotFound: no such chip.
    """
    code_of(conn, archive_name, id)
    row = one_row(
        conn,
        sql.SQL(
            "SELECT " + HIT_COLUMNS + " FROM (SELECT *, 0 AS distance FROM dcsh.{}) h "
            "JOIN dcsh.scene s ON s.id = h.scene_id WHERE h.id = %s"
        ).format(sql.Identifier(archive_name)),
        [id],
    )
    return hit_of(row)


def chip_at(conn: psycopg.Connection, archive_name: str, lon: float, lat: float) -> int:
    """The id of the chip at a place, degrees: ``dcsh.chip_at``.

    Raises:
        NotFound: no chip covers the place.
        UsageError: not a longitude and a latitude.
    """
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise UsageError(
            f"coordinates out of range: longitude {lon:g}, latitude {lat:g}",
            hint="give the longitude first, then the latitude, in degrees",
        )
    (found,) = one_row(
        conn, "SELECT dcsh.chip_at(%s, %s, %s)", [archive_name, float(lon), float(lat)]
    )
    if found is None:
        raise NotFound(
            f"no chip of archive '{archive_name}' covers longitude {lon:g}, latitude {lat:g}",
            hint="longitude comes first; 'dcsh-pg archive show' shows the archive's extent",
        )
    return int(found)


def code_of(conn: psycopg.Connection, archive_name: str, id: int) -> bytes:
    """The packed code of a chip, K/8 bytes: ``dcsh.code_of``.

    Raises:
        NotFound: no such chip.
    """
    return scalar(
        conn, bytes, "SELECT substr(bit_send(dcsh.code_of(%s, %s::bigint)), 5)", [archive_name, id]
    )


def labelled_codes(
    conn: psycopg.Connection, archive_name: str, label: str, filter: Filter = Filter()
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], list[str]]:
    """Ids int64 (N,), packed codes uint8 (N, K/8) and labels (N) of the chips with a label, by id.

    ``label`` names a property of the scenes; chips of scenes without it are left out.

    Raises:
        NotFound: no scene that the filter selects has that property.
    """
    conditions = filter_arguments(conn, archive_name, filter, without=["max_distance"])
    with sql_errors():
        rows = conn.execute(
            sql.SQL(
                """
                SELECT c.id, decode(c.code, 'hex'), s.properties ->> %s
                FROM {} c JOIN dcsh.scene s ON s.id = c.scene_id
                WHERE s.properties ->> %s IS NOT NULL
                ORDER BY c.id
                """
            ).format(call("dcsh_private.chips", archive=archive_name, **conditions)),
            [label, label],
            binary=True,
        ).fetchall()
    if not rows:
        among = "" if filter == Filter() else " that the filter selects"
        raise NotFound(
            f"no scene of archive '{archive_name}'{among} has the property '{label}'",
            hint="class sub-folders become the property that labels a scene; 'dcsh-pg archive "
            "show' lists the properties",
        )
    ids, sent, labels = zip(*rows, strict=True)
    codes = np.frombuffer(b"".join(sent), np.uint8).reshape(len(ids), -1)
    return np.array(ids, np.int64), codes, list(labels)

"""Search: each function is one SQL function of ``dcsh`` and gives the rows that psql gives.

Order is (distance, id) and the answer exact.  Filters mean the same everywhere:

    area            shapely geometry in EPSG:4326; footprints that share a point with it
    since, until    since <= acquired < until
    max_distance    at most so many bits
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import psycopg
from pgvector import Bit
from psycopg import sql
from shapely.geometry.base import BaseGeometry

from dcsh_pg.database.archives import spatial
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.errors import NotFound, UsageError


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


def similar(
    conn: psycopg.Connection,
    archive_name: str,
    code: bytes,
    *,
    k: int = 10,
    area: BaseGeometry | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    max_distance: int | None = None,
) -> list[Hit]:
    """The ``k`` chips nearest to a packed code of K/8 bytes: ``dcsh.similar``.

    Raises:
        NotFound: no such archive.
        UsageError: the code has another length than the archive's, k is not positive, or the area
            cannot be searched.
    """
    return hits_of(
        conn,
        "dcsh.similar",
        archive=archive_name,
        code=Bit(bytes(code)),
        k=k,
        area=area_of(conn, area),
        since=since,
        until=until,
        max_distance=max_distance,
    )


def similar_to(
    conn: psycopg.Connection,
    archive_name: str,
    id: int,
    *,
    k: int = 10,
    area: BaseGeometry | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    max_distance: int | None = None,
) -> list[Hit]:
    """The ``k`` chips nearest to a chip, that chip left out: ``dcsh.similar_to``.

    Raises:
        NotFound: no such archive or chip.
        UsageError: as :func:`similar`.
    """
    return hits_of(
        conn,
        "dcsh.similar_to",
        archive=archive_name,
        id=id,
        k=k,
        area=area_of(conn, area),
        since=since,
        until=until,
        max_distance=max_distance,
    )


def within(
    conn: psycopg.Connection,
    archive_name: str,
    code: bytes,
    radius: int,
    *,
    area: BaseGeometry | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Hit]:
    """All chips at most ``radius`` bits from a packed code: ``dcsh.within``.

    Raises:
        NotFound: no such archive.
        UsageError: as :func:`similar`, or the radius is negative.
    """
    return hits_of(
        conn,
        "dcsh.within",
        archive=archive_name,
        code=Bit(bytes(code)),
        radius=radius,
        area=area_of(conn, area),
        since=since,
        until=until,
    )


def chip(conn: psycopg.Connection, archive_name: str, id: int) -> Hit:
    """A chip by its id, at distance 0.

    Raises:
        NotFound: no such archive or chip.
    """
    with sql_errors():
        conn.execute("SELECT dcsh.code_of(%s, %s::bigint)", [archive_name, id])
        row = conn.execute(
            sql.SQL(
                """
                SELECT c.id, 0, c.scene_id, s.uri, c.col_off, c.row_off, c.width, c.height,
                       c.geom::text, c.acquired, c.valid_fraction, s.properties, s.collection,
                       s.item_id
                FROM dcsh.{} c JOIN dcsh.scene s ON s.id = c.scene_id WHERE c.id = %s
                """
            ).format(sql.Identifier(archive_name)),
            [id],
        ).fetchone()
    return _hit(row)


def chip_at(conn: psycopg.Connection, archive_name: str, lon: float, lat: float) -> int:
    """The id of the chip at a place, degrees: ``dcsh.chip_at``.

    Raises:
        NotFound: no such archive, or no chip covers the place.
        UsageError: not a longitude and a latitude.
    """
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise UsageError(
            f"no place on Earth: longitude {lon:g}, latitude {lat:g}",
            hint="give the longitude first, then the latitude, in degrees",
        )
    with sql_errors():
        (found,) = conn.execute(
            "SELECT dcsh.chip_at(%s, %s, %s)", [archive_name, float(lon), float(lat)]
        ).fetchone()
    if found is None:
        raise NotFound(
            f"no chip of archive '{archive_name}' covers longitude {lon:g}, latitude {lat:g}",
            hint="longitude comes first; 'dcsh-pg archive show' tells the archive's extent",
        )
    return found


def code_of(conn: psycopg.Connection, archive_name: str, id: int) -> bytes:
    """The packed code of a chip, K/8 bytes: ``dcsh.code_of``.

    Raises:
        NotFound: no such archive or chip.
    """
    with sql_errors():
        (code,) = conn.execute(
            "SELECT bit_send(dcsh.code_of(%s, %s::bigint))", [archive_name, id], binary=True
        ).fetchone()
    return bytes(code)[4:]


def labelled_codes(
    conn: psycopg.Connection, archive_name: str, label: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Ids int64 (N,), packed codes uint8 (N, K/8) and labels (N) of the chips with a label, by id.

    ``label`` names a property of the scenes; chips of scenes without it are left out.

    Raises:
        NotFound: no such archive, or no scene has that property.
    """
    with sql_errors():
        conn.execute("SELECT dcsh._archive(%s)", [archive_name])
        rows = conn.execute(
            sql.SQL(
                """
                SELECT c.id, bit_send(c.code), s.properties ->> %s
                FROM dcsh.{} c JOIN dcsh.scene s ON s.id = c.scene_id
                WHERE s.properties ->> %s IS NOT NULL
                ORDER BY c.id
                """
            ).format(sql.Identifier(archive_name)),
            [label, label],
            binary=True,
        ).fetchall()
    if not rows:
        raise NotFound(
            f"no scene of archive '{archive_name}' has the property '{label}'",
            hint="class sub-folders become the property that labels a scene; 'dcsh-pg archive "
            "show' lists the properties",
        )
    ids, sent, labels = zip(*rows, strict=True)
    codes = np.frombuffer(b"".join(sent), np.uint8).reshape(len(ids), -1)[:, 4:]
    return np.array(ids, np.int64), np.ascontiguousarray(codes), list(labels)


def area_of(conn: psycopg.Connection, area: BaseGeometry | None) -> str | None:
    """An area as this database takes it.

    Raises:
        UsageError: as :func:`dcsh_pg.database.archives.spatial.area_text`.
    """
    return None if area is None else spatial.area_text(area, spatial.layer_of(conn))


def hits_of(conn: psycopg.Connection, function: str, **arguments: Any) -> list[Hit]:
    """Calls a function of ``dcsh`` that gives hits; ``arguments`` by the names that it has for them.

    Raises:
        DcshError: what the function complains about, in our family of errors.
    """
    given = ", ".join(f"{name} => %({name})s{_CASTS.get(name, '')}" for name in arguments)
    with sql_errors():
        rows = conn.execute(
            f"""
            SELECT h.id, h.distance, h.scene_id, s.uri, h.col_off, h.row_off, h.width, h.height,
                   h.geom::text, h.acquired, h.valid_fraction, s.properties, s.collection,
                   s.item_id
            FROM {function}({given}) h JOIN dcsh.scene s ON s.id = h.scene_id
            ORDER BY h.distance, h.id
            """,
            arguments,
        ).fetchall()
    return [_hit(row) for row in rows]


_CASTS = {
    "area": "::dcsh.area",
    "region": "::dcsh.area",
    "since": "::timestamptz",
    "until": "::timestamptz",
    "k": "::integer",
    "radius": "::integer",
    "max_distance": "::integer",
    "id": "::bigint",
    "archive": "::text",
    "likes": "::bigint[]",
    "unlikes": "::bigint[]",
    "rule": "::text",
}


def _hit(row: tuple) -> Hit:
    id, distance, scene_id, uri, *window, geom, acquired, valid_fraction, properties = row[:-2]
    return Hit(
        id, distance, scene_id, uri, tuple(window), spatial.footprint(geom), acquired,
        valid_fraction, properties, *row[-2:],
    )  # fmt: skip

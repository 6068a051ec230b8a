"""Archives beside pgstac: search by what STAC items tell, and chips joined with their items.

A scene knows the collection and the id of its item; pgstac keeps the items in the same database.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from pgvector import Bit
from psycopg.types.json import Jsonb
from shapely.geometry.base import BaseGeometry

from dcsh_pg import strict_json
from dcsh_pg.database.search.similar import Hit, area_of, hits_of
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.errors import InputError, UsageError


def similar_in_stac(
    conn: psycopg.Connection,
    archive_name: str,
    code: bytes,
    filter: dict[str, Any],
    *,
    k: int = 10,
    area: BaseGeometry | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    max_distance: int | None = None,
    other_than: int | None = None,
) -> list[Hit]:
    """The ``k`` nearest of the chips whose item meets a CQL2-JSON filter: ``dcsh.similar_in_stac``.

    Chip ``other_than`` is left out; the rest is as in :func:`dcsh_pg.database.search.similar.similar`.

    Raises:
        NotFound: no such archive.
        ServerError: the database has no pgstac.
        UsageError: pgstac does not take the filter, or as :func:`dcsh_pg.database.search.similar.similar`.
    """
    return hits_of(
        conn,
        "dcsh.similar_in_stac",
        archive=archive_name,
        code=Bit(bytes(code)),
        filter=Jsonb(filter),
        k=k,
        area=area_of(conn, area),
        since=since,
        until=until,
        max_distance=max_distance,
        other_than=other_than,
    )


def scenes_in_stac(
    conn: psycopg.Connection, archive_name: str, filter: dict[str, Any]
) -> list[int]:
    """Ids of the scenes whose item meets a CQL2-JSON filter: ``dcsh.scenes_in_stac``.

    Raises:
        NotFound, ServerError, UsageError: as :func:`similar_in_stac`.
    """
    with sql_errors():
        rows = conn.execute(
            "SELECT dcsh.scenes_in_stac(%s, %s)", [archive_name, Jsonb(filter)]
        ).fetchall()
    return [id for (id,) in rows]


def create_view(conn: psycopg.Connection, archive_name: str) -> str:
    """Makes the view of chips with their items, returns its name: ``dcsh.create_pgstac_view``.

    Raises:
        NotFound: no such archive.
        ServerError: the database has no pgstac.
        UsageError: something that is not a view has that name.
    """
    with sql_errors():
        return conn.execute("SELECT dcsh.create_pgstac_view(%s)::text", [archive_name]).fetchone()[
            0
        ]


def drop_view(conn: psycopg.Connection, archive_name: str) -> bool:
    """Drops that view: ``dcsh.drop_pgstac_view``; False where there was none.

    Raises:
        NotFound: no such archive.
    """
    with sql_errors():
        return conn.execute("SELECT dcsh.drop_pgstac_view(%s)", [archive_name]).fetchone()[0]


def read_filter(text: str) -> dict[str, Any]:
    """A CQL2-JSON filter from its text, or from the file that the text names.

    Raises:
        InputError: the file cannot be read.
        UsageError: not a JSON object.
    """
    source = "the filter"
    if not text.lstrip().startswith("{"):
        source = text
        try:
            text = Path(text).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"cannot read the filter {source}: {error.strerror}",
                hint="give a file of CQL2-JSON, or the JSON itself: "
                '\'{"op": "<=", "args": [{"property": "gsd"}, 0.6]}\'',
            ) from error
    try:
        filter = strict_json.loads_checked(text)
    except ValueError as error:
        raise UsageError(f"{source} is not JSON: {error}") from error
    if not isinstance(filter, dict):
        raise UsageError(f"{source} is not a CQL2-JSON filter, which is an object with 'op'")
    return filter

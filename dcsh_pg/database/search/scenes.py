"""The scenes of an archive, listed, and those to remove."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from dcsh_pg.database.archives import registry
from dcsh_pg.database.search.call import call, filter_arguments
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row
from dcsh_pg.errors import NotFound, UsageError
from dcsh_pg.imagery.parts import files_of


@dataclass(frozen=True)
class StoredScene:
    """A scene of an archive, as ``dcsh.scene`` stores it.

    Attributes:
        id: key, ``scene_id`` of its chips.
        uri: absolute path, URL or GDAL name.
        acquired: acquisition time, UTC, or None.
        chips, skipped: number of its chips, and of its windows without a chip.
        collection, item_id: of the STAC item that it came from, or None.
        proj_code: authority and code of its CRS, or None.
        content_hash: identity of its content.
        ingested: when it was stored.
        properties: everything else that is known.
    """

    id: int
    uri: str
    acquired: datetime | None
    chips: int
    skipped: int
    collection: str | None
    item_id: str | None
    proj_code: str | None
    content_hash: str
    ingested: datetime
    properties: dict[str, Any]


def scene_ids(conn: psycopg.Connection, name: str, filter: Filter) -> list[int] | None:
    """The scenes that meet a filter's conditions on scenes; None if it has none.

    Raises:
        UsageError: a condition is invalid.
    """
    found = filter_arguments(conn, name, filter)["scenes"]
    if found is None:
        return None
    with sql_errors():
        ids: list[int] = one_row(conn, sql.SQL("SELECT {}").format(found))[0]
    return ids


def scenes(
    conn: psycopg.Connection, name: str, filter: Filter = Filter(), *, limit: int | None = None
) -> list[StoredScene]:
    """The scenes of an archive that pass a filter, by id, at most ``limit``: ``dcsh.scenes``.

    An area selects the scenes with a chip in it.

    Raises:
        NotFound: no such archive.
        UsageError: the filter cannot be applied.
    """
    conditions = filter_arguments(conn, name, filter, without=["max_distance"])
    del conditions["max_distance"]
    columns = ", ".join(field.name for field in fields(StoredScene))
    asked = sql.SQL("SELECT " + columns + " FROM {} ORDER BY id LIMIT {}").format(
        call("scenes", archive=name, **conditions), sql.Literal(limit)
    )
    with sql_errors():
        return [StoredScene(*row) for row in conn.execute(asked)]


def ids_of(conn: psycopg.Connection, name: str, addresses: Sequence[str]) -> list[int]:
    """The ids of the scenes with these addresses, in their order.

    Raises:
        NotFound: no such archive, or no scene has one of the addresses.
    """
    archive = registry.get_archive(conn, name)
    with sql_errors():
        ids: dict[str, int] = dict(
            conn.execute(
                "SELECT uri, id FROM dcsh.scene WHERE archive_id = %s AND uri = ANY (%s)",
                [archive.id, list(addresses)],
            ).fetchall()
        )
    for address in addresses:
        if address not in ids:
            raise NotFound(
                f"archive '{name}' has no scene {address}",
                hint=f"'dcsh-pg archive scenes {name}' lists the addresses",
            )
    return [ids[address] for address in addresses]


def selected(
    conn: psycopg.Connection,
    name: str,
    addresses: Sequence[str] = (),
    filter: Filter = Filter(),
    *,
    gone: bool = False,
) -> list[StoredScene]:
    """The scenes that meet every condition given, by id.

    Args:
        addresses: the addresses that they may have; none is no condition.
        filter: as of :func:`scenes`.
        gone: only those of :func:`gone_from_disk`.

    Raises:
        NotFound: no such archive, or no scene has one of the addresses.
        UsageError: no condition is given, or as :func:`scenes` and :func:`gone_from_disk`.
    """
    if filter == Filter() and not addresses and not gone:
        raise UsageError(
            "no scene is selected",
            hint="give addresses, --gone or a filter; 'dcsh-pg archive drop' drops an archive",
        )
    registry.get_archive(conn, name)
    if addresses:
        ids = set(ids_of(conn, name, addresses))
        both = ids if filter.scenes is None else ids.intersection(filter.scenes)
        filter = replace(filter, scenes=sorted(both))
    found = scenes(conn, name, filter)
    return gone_from_disk(name, found) if gone else found


def gone_from_disk(name: str, stored: Iterable[StoredScene]) -> list[StoredScene]:
    """The scenes among ``stored`` whose file no longer exists; URLs and GDAL names are not checked.

    Raises:
        UsageError: no file of several scenes exists, so a disk may be missing.
    """
    local = [scene for scene in stored if _is_path(scene.uri)]
    gone = [scene for scene in local if not _exists(scene.uri)]
    if len(gone) == len(local) > 1:
        raise UsageError(
            f"none of the {len(local):,} files of archive '{name}' exists, {gone[0].uri} for example",
            hint="mount their disk; if they were moved, 'dcsh-pg archive relocate' updates their "
            "addresses",
        )
    return gone


def _is_path(uri: str) -> bool:
    return os.path.isabs(uri) and not uri.startswith("/vsi")


def _exists(path: str) -> bool:
    """False only if a file of the scene is certainly gone, not if it cannot be looked at."""
    try:
        for file in files_of(path):
            os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True

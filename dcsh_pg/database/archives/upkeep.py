"""Changes to an archive that is there: its name, its scenes, and their addresses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from dcsh_pg.database.archives import registry
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row, scalar
from dcsh_pg.errors import NotFound, UsageError


@dataclass(frozen=True)
class Relocated:
    """A scene with its address before and after."""

    id: int
    former: str
    uri: str


def rename_archive(conn: psycopg.Connection, name: str, new_name: str) -> None:
    """Renames an archive with its table and layer: ``dcsh.rename_archive``.

    Raises:
        NotFound: there is none of that name.
        UsageError: the new name is invalid or taken.
        ServerError: this role does not own the archive.
    """
    registry.get_archive(conn, name)
    with sql_errors():
        conn.execute("SELECT dcsh.rename_archive(%s, %s)", [name, new_name])


def copy_archive(conn: psycopg.Connection, name: str, new_name: str) -> int:
    """Copies an archive, chip ids included: ``dcsh.copy_archive``; returns the number of chips.

    Raises:
        NotFound: there is none of that name.
        UsageError: the new name is invalid or taken.
        ServerError: this role may not create archives.
    """
    registry.get_archive(conn, name)
    return scalar(conn, int, "SELECT dcsh.copy_archive(%s, %s)", [name, new_name])


def remove_scenes(conn: psycopg.Connection, name: str, ids: Sequence[int]) -> tuple[int, int]:
    """Removes scenes with their chips, in one transaction: ``dcsh.remove_scenes``.

    Returns:
        The number of scenes and of chips removed.

    Raises:
        NotFound: no such archive.
        ServerError: this role may not write.
    """
    removed, chips = one_row(
        conn, "SELECT * FROM dcsh.remove_scenes(%s, %s::bigint[])", [name, list(ids)]
    )
    return int(removed), int(chips)


def relocated(conn: psycopg.Connection, name: str, old: str, new: str) -> list[Relocated]:
    """The scenes that :func:`relocate` changes, by id.

    Raises:
        NotFound, UsageError: as :func:`relocate`.
    """
    archive = registry.get_archive(conn, name)
    with sql_errors():
        rows = conn.execute(
            "SELECT id, former, uri FROM dcsh.relocated_scenes(%s, %s, %s)",
            [name, *_prefixes(old, new)],
        ).fetchall()
    if not rows:
        raise _nothing_below(conn, archive, old)
    return [Relocated(*row) for row in rows]


def relocate(conn: psycopg.Connection, name: str, old: str, new: str) -> int:
    """Replaces a folder in the addresses of scenes, in one transaction: ``dcsh.relocate_scenes``.

    Files are not touched.  Chips, ids and content hashes stay.

    Args:
        old, new: folder, URL or GDAL name; '/data/naip' matches '/data/naip/a.tif', and not
            '/data/naip2/a.tif'.  A relative path becomes absolute.

    Returns:
        The number of scenes with a new address.

    Raises:
        NotFound: no such archive, or none of its addresses lies below ``old``.
        UsageError: ``old`` is ``new``, or another scene has one of the new addresses.
        ServerError: this role may not write.
    """
    archive = registry.get_archive(conn, name)
    moved = scalar(
        conn, int, "SELECT dcsh.relocate_scenes(%s, %s, %s)", [name, *_prefixes(old, new)]
    )
    if not moved:
        raise _nothing_below(conn, archive, old)
    return moved


def _nothing_below(conn: psycopg.Connection, archive: registry.ArchiveRecord, old: str) -> NotFound:
    """The error of a relocation that changes nothing."""
    (first,) = one_row(conn, "SELECT min(uri) FROM dcsh.scene WHERE archive_id = %s", [archive.id])
    return NotFound(
        f"no address of archive '{archive.name}' lies below {old}",
        hint=f"its first address is {first}" if first else "it has no scenes",
    )


def _prefixes(old: str, new: str) -> tuple[str, str]:
    prefixes = _address(old), _address(new)
    if prefixes[0] == prefixes[1]:
        raise UsageError(f"{old} and {new} are the same address", hint="name the new folder second")
    return prefixes


def _address(text: str) -> str:
    """A folder, URL or GDAL name as addresses begin with it, without '/' at its end."""
    if not text:
        raise UsageError("an address must not be empty", hint="write . for the current folder")
    is_path = "://" not in text and not text.startswith("/vsi")
    full = os.path.abspath(Path(text).expanduser()) if is_path else text
    return full.rstrip("/")

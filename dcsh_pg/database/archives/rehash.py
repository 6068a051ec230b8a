"""The codes of another model for the chips of an archive, until they replace those it has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import psycopg
from psycopg import sql

from dcsh_pg.database.archives import registry
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import scalar
from dcsh_pg.errors import NotFound


@dataclass(frozen=True, eq=False)
class StoredChips:
    """A scene with its chips that have no code of the new model yet.

    Attributes:
        uri: address of the scene.
        ids: of the chips, int64 (N,).
        windows: int32 (N, 4), col_off, row_off, width, height.
        valid_fraction: float32 (N,).
    """

    uri: str
    ids: np.ndarray
    windows: np.ndarray
    valid_fraction: np.ndarray


def begin(conn: psycopg.Connection, name: str, model_sha256: str) -> None:
    """Adds the column for the codes of a stored model: ``dcsh.begin_rehash``; safe to repeat.

    Raises:
        NotFound: no such archive.
        UsageError: it has that model, or is being hashed again with another one.
        ServerError: this role does not own the archive.
    """
    registry.get_archive(conn, name)
    with sql_errors():
        conn.execute("SELECT dcsh.begin_rehash(%s, %s)", [name, model_sha256])


def is_begun(conn: psycopg.Connection, name: str, model_sha256: str) -> bool:
    """Whether an archive is being hashed again with this model."""
    return scalar(
        conn,
        bool,
        "SELECT dcsh_private.new_code(%s) IS NOT DISTINCT FROM ('new_code_' || left(%s, 16))::name",
        [name, model_sha256],
    )


def cancel(conn: psycopg.Connection, name: str) -> bool:
    """Discards the new codes: ``dcsh.cancel_rehash``; False if there are none.

    Raises:
        NotFound, ServerError: as :func:`begin`.
    """
    registry.get_archive(conn, name)
    return scalar(conn, bool, "SELECT dcsh.cancel_rehash(%s)", [name])


def scenes_to_hash(conn: psycopg.Connection, name: str, model_sha256: str) -> list[int]:
    """Ids of the scenes with chips that have no new code, ascending."""
    with sql_errors():
        rows = conn.execute("SELECT dcsh_private.scenes_to_rehash(%s, %s)", [name, model_sha256])
        return [id for (id,) in rows]


def chips_to_hash(
    conn: psycopg.Connection, name: str, model_sha256: str, scene_id: int
) -> StoredChips:
    """The chips of a scene that have no new code, by id.

    Raises:
        NotFound: the scene was removed.
    """
    with sql_errors():
        found = conn.execute("SELECT uri FROM dcsh.scene WHERE id = %s", [scene_id]).fetchone()
        if found is None:
            raise NotFound(f"archive '{name}' has no scene {scene_id} any more")
        rows = conn.execute(
            sql.SQL(
                "SELECT id, col_off, row_off, width, height, valid_fraction FROM dcsh.{} "
                "WHERE scene_id = %s AND {} IS NULL ORDER BY id"
            ).format(sql.Identifier(name), sql.Identifier(f"new_code_{model_sha256[:16]}")),
            [scene_id],
        ).fetchall()
    columns = list(zip(*rows, strict=True)) or [()] * 6
    windows = np.array(columns[1:5], np.int32).T.reshape(-1, 4)
    return StoredChips(
        found[0], np.array(columns[0], np.int64), windows, np.array(columns[5], np.float32)
    )


def store(
    conn: psycopg.Connection, name: str, model_sha256: str, ids: np.ndarray, codes: np.ndarray
) -> None:
    """Stores new codes, packed uint8 (N, K/8), for the chips with these ids, int64 (N,).

    Raises:
        UsageError: the archive is not being hashed again with this model any more.
    """
    bits = ["x" + code.tobytes().hex() for code in codes]
    with sql_errors():
        conn.execute(
            "SELECT dcsh_private.store_new_codes(%s, %s, %s::bigint[], %s::bit varying[])",
            [name, model_sha256, ids.tolist(), bits],
        )


def end(conn: psycopg.Connection, name: str, model_sha256: str) -> None:
    """Replaces the codes of an archive by the new ones, in one transaction: ``dcsh.end_rehash``.

    Raises:
        ServerError: a chip has no new code yet, or a view needs codes of the old length.
    """
    with sql_errors():
        conn.execute("SELECT dcsh.end_rehash(%s, %s)", [name, model_sha256])

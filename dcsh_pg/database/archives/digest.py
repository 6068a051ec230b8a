"""The identity of an archive's content: one digest of all that a search can depend on."""

from __future__ import annotations

import hashlib

import psycopg
from psycopg import sql

from dcsh_pg.database.archives.registry import ArchiveRecord
from dcsh_pg.database.server.pg_errors import sql_errors

_SCENES = """
    SELECT s.content_hash, s.collection, s.item_id, s.acquired, s.properties::text
    FROM dcsh.scene s WHERE s.archive_id = {id} ORDER BY s.content_hash COLLATE "C"
"""

_CHIPS = """
    SELECT c.id, s.content_hash, c.col_off, c.row_off, c.width, c.height, c.acquired, c.valid_fraction,
           c.code, dcsh_private.wkb(c.geom)
    FROM dcsh.{name} c JOIN dcsh.scene s ON s.id = c.scene_id
    WHERE s.archive_id = {id} ORDER BY c.id
"""


def archive_digest(conn: psycopg.Connection, archive: ArchiveRecord) -> str:
    """SHA-256 over the scenes and chips of an archive, hexadecimal.

    Of the binary COPY of both queries of this module.  A copy of the archive has the same digest, on any server,
    with or without PostGIS: addresses of scenes, ids of scenes and times of ingestion are not part of it.
    """
    digest = hashlib.sha256()
    for query in (_SCENES, _CHIPS):
        rows = sql.SQL(query).format(id=sql.Literal(archive.id), name=sql.Identifier(archive.name))
        copy_out = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(rows)
        with sql_errors(), conn.cursor() as cursor, cursor.copy(copy_out) as copy:
            for block in copy:
                digest.update(block)
    return digest.hexdigest()

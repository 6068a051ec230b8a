"""An archive as one portable file: rows, scenes and model."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import psycopg
import shapely

from dcsh_pg.archive.portable import (
    CHIPS,
    FORMAT,
    MANIFEST,
    MODEL,
    SCENES,
    TEXT,
    Writer,
    chip_schema,
    member,
)
from dcsh_pg.database.archives import registry
from dcsh_pg.database.server.connection import snapshot
from dcsh_pg.files import replacing
from dcsh_pg.progress import SILENT, Progress

ROWS = 16_384
"""Rows of a row group, and rows in memory."""

_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Polygon"]}},
}


def export_archive(
    conn: psycopg.Connection, name: str, path: Path | str, *, progress: Progress = SILENT
) -> int:
    """Writes an archive into one file, as of one moment; returns its number of chips.

    Recorded errors, indexes and privileges are not part of it.

    Raises:
        NotFound: no such archive.
        OutputError: the file cannot be written, or the extra ``geo`` is not installed.
    """
    record = registry.get_archive(conn, name)
    schema = chip_schema(record.bits).with_metadata({"geo": json.dumps(_GEO)})
    with (
        snapshot(conn),
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as container,
    ):
        record = registry.get_archive(conn, name)
        manifest = {"format": FORMAT, "name": name, "reading": record.reading}
        with member(container, MODEL, manifest) as file:
            file.write(registry.load_model(conn, record.model_sha256))
        if record.card.text and registry.has_model(conn, record.card.text):
            with member(container, TEXT, manifest) as file:
                file.write(registry.load_model(conn, record.card.text))
        with member(container, SCENES, manifest) as file:
            numbers = _write_scenes(conn, record.id, file)
        progress.start("exporting chips", total=record.chips)
        with member(container, CHIPS, manifest) as file:
            chips = _write_chips(conn, name, file, schema, numbers, progress)
        (last,) = conn.execute(
            "SELECT last_chip_id FROM dcsh.archive WHERE id = %s", [record.id]
        ).fetchone() or (0,)
        manifest |= {"scenes": len(numbers), "chips": chips, "last_chip_id": last}
        container.writestr(MANIFEST, json.dumps(manifest, indent=2))
    return chips


_FIELDS = (
    "uri", "collection", "item_id", "acquired", "proj_code", "content_hash", "properties", "chips",
    "skipped",
)  # fmt: skip


def _write_scenes(conn: psycopg.Connection, archive_id: int, file: Writer) -> dict[int, int]:
    """Writes the scenes, by id; returns id -> number, from 1."""
    numbers: dict[int, int] = {}
    with conn.cursor("dcsh_scenes") as cursor:
        cursor.itersize = 1_000
        cursor.execute(
            f"SELECT id, {', '.join(_FIELDS)} FROM dcsh.scene WHERE archive_id = %s ORDER BY id",
            [archive_id],
        )
        for id, *values in cursor:
            numbers[id] = len(numbers) + 1
            line = dict(zip(_FIELDS, values, strict=True))
            line["acquired"] = line["acquired"] and line["acquired"].isoformat()
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    return numbers


def _write_chips(
    conn: psycopg.Connection,
    name: str,
    file: Writer,
    schema: object,
    numbers: dict[int, int],
    progress: Progress,
) -> int:
    import pyarrow
    from pyarrow import parquet

    chips = 0
    with (
        parquet.ParquetWriter(file, schema) as writer,
        conn.cursor("dcsh_export", binary=True) as cursor,
    ):
        cursor.execute(
            """
            SELECT id, scene_id, col_off, row_off, width, height, valid_fraction,
                   decode(code, 'hex'), acquired, footprint
            FROM dcsh_private.chips(%s::text) ORDER BY id
            """,
            [name],
        )
        while rows := cursor.fetchmany(ROWS):
            columns = [list(column) for column in zip(*rows, strict=True)]
            columns[1] = [numbers[id] for id in columns[1]]
            columns[-1] = list(shapely.to_wkb(shapely.from_wkb(np.array(columns[-1], object))))
            writer.write_table(pyarrow.table(columns, schema=schema))
            chips += len(rows)
            progress.advance(len(rows))
    return chips

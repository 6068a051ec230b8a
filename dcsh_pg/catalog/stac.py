"""Writes an archive and its model as STAC: a collection, its model as an item, its codes as another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pystac

from dcsh_pg.catalog.codes_parquet import write_codes
from dcsh_pg.catalog.geoemb import geoemb_attributes
from dcsh_pg.catalog.stac_collection import CODES_ASSETS, archive_collection, codes_item
from dcsh_pg.catalog.stac_model import model_item
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.registry import ArchiveRecord
from dcsh_pg.database.server.connection import snapshot
from dcsh_pg.extras import require
from dcsh_pg.files import check_writable, digest_of, replacing

COLLECTION, MODEL, CODES = "collection.json", "model.json", "codes.json"
ONNX_FILE, CODES_FILE = "model.onnx", "codes.parquet"


def write_stac(
    conn: psycopg.Connection,
    archive_name: str,
    folder: Path | str,
    *,
    codes: bool = False,
    model_href: str | None = None,
    license: str = "other",
    source_data: Sequence[str] = (),
) -> Path:
    """Writes ``collection.json`` and ``model.json`` into a folder; returns the path of the former.

    Beside them ``model.onnx``, unless it is published elsewhere, and on demand all codes with their
    footprints as ``codes.parquet`` with its item ``codes.json``.  Each file is complete or not
    there; the collection, which names the others, comes last.

    Args:
        codes: also write the codes.
        model_href: address of the ONNX file, which is then not written.
        license: SPDX identifier of the imagery's license, or 'other'.
        source_data: addresses of the STAC collections that the scenes are from.

    Raises:
        NotFound: no such archive.
        OutputError: a file cannot be written, or ``codes`` and the extra ``geo`` is not installed.
    """
    folder = Path(folder)
    check_writable(folder / COLLECTION)
    if codes:
        require("geo", f"write {folder / CODES_FILE}")
    with snapshot(conn):
        record = registry.get_archive(conn, archive_name)
        extent = registry.extent(conn, archive_name)
        summaries = registry.scene_summaries(conn, archive_name)
        collection = archive_collection(
            record, extent, summaries, license=license, source_data=source_data
        )
        model = _write_model(conn, record, folder, model_href)
        collection.add_link(_link("emb:model", MODEL, model))
        if codes:
            file = folder / CODES_FILE
            attributes = geoemb_attributes(record, model_href=model_href, source_data=source_data)
            chips = write_codes(conn, archive_name, file, extent["bounds"], attributes)
            with file.open("rb") as stream:
                sha256 = digest_of(stream).hexdigest()
            item = codes_item(
                record,
                extent,
                chips,
                href=f"./{CODES_FILE}",
                size=file.stat().st_size,
                sha256=sha256,
                source_data=source_data,
            )
            item.add_link(_link("emb:model", MODEL, model))
            item.add_links([_link(rel, COLLECTION, collection) for rel in _UPWARD])
            _write(item, folder / CODES)
            collection.item_assets = {**CODES_ASSETS}
            collection.add_link(_link("item", CODES, item))
    _write(collection, folder / COLLECTION)
    return folder / COLLECTION


_UPWARD = ("root", "parent", "collection")


def _write_model(
    conn: psycopg.Connection, record: ArchiveRecord, folder: Path, href: str | None
) -> pystac.Item:
    onnx = registry.load_model(conn, record.model_sha256)
    if href is None:
        href = f"./{ONNX_FILE}"
        with replacing(folder / ONNX_FILE) as temporary:
            temporary.write_bytes(onnx)
    item = model_item(record.card, onnx, record.model_sha256, href=href, made=record.created)
    _write(item, folder / MODEL)
    return item


def _link(rel: str, file: str, to: pystac.Item | pystac.Collection) -> pystac.Link:
    if isinstance(to, pystac.Item):
        return pystac.Link(rel, f"./{file}", pystac.MediaType.GEOJSON, title=to.properties["title"])
    return pystac.Link(rel, f"./{file}", pystac.MediaType.JSON, title=to.title)


def _write(made: pystac.STACObject, path: Path) -> None:
    fields: dict[str, Any] = made.to_dict(include_self_link=False, transform_hrefs=False)
    with replacing(path) as temporary:
        text = json.dumps(fields, indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")

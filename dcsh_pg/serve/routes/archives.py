"""Which archives there are, where and when they have chips, and single chips."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Query, Response

from dcsh_pg import results
from dcsh_pg.archive import Archive
from dcsh_pg.database.archives import registry
from dcsh_pg.database.search.chips import chip, chip_at, chips
from dcsh_pg.database.search.period import Every
from dcsh_pg.database.search.statistics import pair_shares
from dcsh_pg.errors import InputError, NotFound, OutputError
from dcsh_pg.extras import require
from dcsh_pg.serve.answers import feature, thumbnail
from dcsh_pg.serve.asked import MOST_HITS
from dcsh_pg.serve.routes.shared import KEPT, ChipId, Name, TheService

router = APIRouter(tags=["archives"])

DOWNLOADS = {"geojson": ".geojson", "csv": ".csv", "geoparquet": ".parquet"}
"""Formats of downloads, and the ends of their files' names."""

QGIS = {"qgis": ".qgz"}
"""Another, whose layers are those of the database: only with PostGIS."""


@router.get("/archives")
def list_archives(service: TheService) -> list[dict[str, Any]]:
    """The archives that are served."""
    return [
        {
            "name": archive.name,
            "scenes": archive.scenes,
            "chips": archive.chips,
            "bits": archive.bits,
        }
        for archive in service.archives()
    ]


@router.get("/archives/{name}")
def show_archive(name: Name, service: TheService) -> Response:
    """An archive: its size, extent, times, properties, and how far random pairs of chips are apart."""
    with service.reading() as conn:
        archive = service.archive(conn, name)
        body = service.once(archive, "archive", lambda: _summary(conn, archive))
    shared = {
        "layer": service.layer,
        "basemap": service.settings.basemap,
        "upload_bytes": service.settings.upload_bytes,
        "most_hits": MOST_HITS,
        "downloads": _downloads() | (QGIS if service.layer == "postgis" else {}),
    }
    return Response(json.dumps(json.loads(body) | shared), media_type="application/json")


@router.get("/archives/{name}/chips/{id}")
def show_chip(name: Name, id: ChipId, service: TheService) -> dict[str, Any]:
    """A chip as a GeoJSON feature."""
    with service.reading() as conn:
        return feature(chip(conn, service.archive(conn, name).name, id))


@router.get("/archives/{name}/at")
def find_chip(
    name: Name,
    lon: Annotated[float, Query(ge=-180, le=180)],
    lat: Annotated[float, Query(ge=-90, le=90)],
    service: TheService,
) -> dict[str, Any]:
    """The chip at a place as a GeoJSON feature."""
    with service.reading() as conn:
        archive = service.archive(conn, name).name
        return feature(chip(conn, archive, chip_at(conn, archive, lon, lat)))


@router.get("/archives/{name}/chips/{id}/thumbnail", response_class=Response)
def show_thumbnail(name: Name, id: ChipId, service: TheService) -> Response:
    """A chip's pixels, read from its scene, as WebP."""
    with service.reading() as conn:
        archive = service.archive(conn, name)
        found = chip(conn, archive.name, id)

    def make() -> bytes:
        with service.reading_imagery():
            return thumbnail(archive.read_chip(found))

    try:
        body = service.once(archive, ("thumbnail", found.scene_id, found.uri, found.window), make)
    except InputError:
        raise NotFound(
            f"the scene of chip {id} cannot be read", hint="its file was moved or deleted"
        ) from None
    return Response(body, media_type="image/webp", headers={"cache-control": KEPT})


def _summary(conn: psycopg.Connection, archive: Archive) -> bytes:
    record = archive.record
    first = chips(conn, record.name, limit=1)[1]
    west, _, east, _ = first[0].bounds if len(first) and first[0] is not None else (0, 0, 0, 0)
    extent = registry.extent(conn, record.name)
    summary = {
        "name": record.name,
        "scenes": record.scenes,
        "chips": record.chips,
        "bits": record.bits,
        "model": record.card.name,
        "text": bool(record.card.text),
        "chip_size": archive.reading.chip_size,
        "chip_degrees": east - west,
        **extent,
        "pair_shares": pair_shares(conn, record.name),
    }
    return json.dumps(summary).encode()


def period_of(acquired: list[str] | None) -> Every | None:
    """The period that divides the times of an archive into some tens of bars."""
    if acquired is None:
        return None
    first, last = map(datetime.fromisoformat, acquired)
    days = (last - first).days
    steps: list[tuple[int, Every]] = [(1, "hour"), (60, "day"), (2000, "month"), (6000, "quarter")]
    return next((every for most, every in steps if days <= most), "year")


def _downloads() -> dict[str, str]:
    known = {}
    for name, suffix in DOWNLOADS.items():
        extra = results.outputs.suffixes()[suffix].extra
        try:
            if extra is not None:
                require(extra, f"write {name}")
        except OutputError:
            continue
        known[name] = suffix
    return known

"""Tiles: footprints as vectors, scenes as pictures."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from dcsh_pg.database.search.filter import Filter
from dcsh_pg.serve.answers import tile_image
from dcsh_pg.serve.footprint_tiles import footprint_tile
from dcsh_pg.serve.imagery_tiles import imagery_tile, scenes_in_tile
from dcsh_pg.serve.routes.shared import KEPT, Cell, Name, TheService, Zoom

router = APIRouter(tags=["tiles"])


def _times(
    since: Annotated[datetime | None, Query(description="Acquired at this time or later")] = None,
    until: Annotated[datetime | None, Query(description="Acquired before this time")] = None,
) -> Filter:
    return Filter(since=since, until=until)


Times = Annotated[Filter, Depends(_times)]


@router.get("/archives/{name}/tiles/{z}/{x}/{y}.mvt", response_class=Response)
def vector_tile(
    name: Name, z: Zoom, x: Cell, y: Cell, times: Times, service: TheService
) -> Response:
    """The footprints of chips, at least two pixels wide, in layer ``chips``; a feature's id is its chip's."""
    with service.reading() as conn:
        archive = service.archive(conn, name)
        body = service.once(
            archive,
            ("tile", z, x, y, times),
            lambda: footprint_tile(conn, service.layer, archive.name, z, x, y, times),
        )
    return Response(
        body, media_type="application/vnd.mapbox-vector-tile", headers={"cache-control": KEPT}
    )


@router.get("/archives/{name}/imagery/{z}/{x}/{y}.webp", response_class=Response)
def raster_tile(
    name: Name, z: Zoom, x: Cell, y: Cell, times: Times, service: TheService
) -> Response:
    """The scenes of the archive, the newest above, read from their files."""
    with service.reading() as conn:
        archive = service.archive(conn, name)
        scenes = scenes_in_tile(conn, archive.name, z, x, y, times)
    if not scenes:
        return Response(status_code=204, headers={"cache-control": KEPT})

    def make() -> bytes:
        with service.reading_imagery():
            return tile_image(*imagery_tile(archive, scenes, z, x, y))

    body = service.once(archive, ("imagery", z, x, y, scenes), make)
    return Response(body, media_type="image/webp", headers={"cache-control": KEPT})

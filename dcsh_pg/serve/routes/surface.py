"""The whole archive compared with a query: histograms, and the least distance by place."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Annotated

import psycopg
from fastapi import APIRouter, Response
from pydantic import Field
from shapely.geometry import box

from dcsh_pg.archive import Archive
from dcsh_pg.database.archives import registry
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.period import Every
from dcsh_pg.database.search.query import Query
from dcsh_pg.database.search.surface import distance_histogram, similarity_surface
from dcsh_pg.errors import UsageError
from dcsh_pg.results.record import iso
from dcsh_pg.serve.asked import AskedSearch, asking
from dcsh_pg.serve.routes.archives import period_of
from dcsh_pg.serve.routes.shared import Name, TheService

router = APIRouter(tags=["search"])

Degrees = tuple[float, float, float, float]


class AskedSurface(AskedSearch):
    """A surface: a search without k, and how fine and where the grid is."""

    zoom: Annotated[int, Field(ge=0, le=24)]
    bounds: Degrees | None = Field(None, description="West, south, east, north; all if left out")


@router.post("/archives/{name}/histogram")
def histogram(name: Name, asked: AskedSearch, service: TheService) -> Response:
    """How many chips have each distance to the query, and how many are of each period.

    All chips that meet the filter but for ``max_distance`` count in ``distances``, those within
    ``max_distance`` in ``periods``.
    """
    with service.reading() as conn:
        archive = service.archive(conn, name)
        query, filter = asking(conn, archive, asked)
        body = service.once(
            archive,
            ("histogram", asked.model_dump_json(exclude={"k"})),
            lambda: _histogram(conn, archive, query, filter),
        )
    return Response(body, media_type="application/json")


@router.post("/archives/{name}/surface")
def surface(name: Name, asked: AskedSurface, service: TheService) -> Response:
    """The least distance to the query in each cell of a grid of Web Mercator, in columns.

    Cells are numbered from the west and the north, 2^zoom to the width of the Earth;
    ``max_distance`` has no part in it.
    """
    with service.reading() as conn:
        archive = service.archive(conn, name)
        query, filter = asking(conn, archive, asked)
        if asked.bounds is not None:
            filter = _within(filter, asked.bounds)
        body = service.once(
            archive,
            ("surface", asked.model_dump_json(exclude={"k"})),
            lambda: _surface(conn, archive, query, filter, asked.zoom),
        )
    return Response(body, media_type="application/json")


def _histogram(conn: psycopg.Connection, archive: Archive, query: Query, filter: Filter) -> bytes:
    every: Every | None = period_of(registry.extent(conn, archive.name)["acquired"])
    anywhere = replace(filter, max_distance=None)
    distances: Counter[int] = Counter()
    periods: Counter[str] = Counter()
    for bin in distance_histogram(conn, archive.name, query, anywhere, every=every):
        distances[bin.distance] += bin.chips
        is_near = filter.max_distance is None or bin.distance <= filter.max_distance
        if every is not None and bin.period is not None and is_near:
            periods[iso(bin.period)] += bin.chips
    content = {
        "distances": sorted(distances.items()),
        "every": every,
        "periods": sorted(periods.items()),
    }
    return json.dumps(content).encode()


def _surface(
    conn: psycopg.Connection, archive: Archive, query: Query, filter: Filter, zoom: int
) -> bytes:
    cells = similarity_surface(conn, archive.name, query, zoom, replace(filter, max_distance=None))
    columns = {
        name: [getattr(cell, name) for cell in cells] for name in ("x", "y", "distance", "chips")
    }
    return json.dumps({"zoom": zoom} | columns).encode()


def _within(filter: Filter, bounds: Degrees) -> Filter:
    west, south, east, north = bounds
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise UsageError("bounds are out of range", hint="west, south, east, north in degrees")
    area = box(*bounds)
    return replace(filter, area=area if filter.area is None else area.intersection(filter.area))

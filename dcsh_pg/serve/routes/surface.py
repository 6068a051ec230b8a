"""The whole archive compared with a query: histograms, and the least distance by place."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeVar

import numpy as np
import psycopg
from anyio.to_thread import run_sync
from fastapi import APIRouter, Response
from pydantic import Field
from shapely.geometry import box

from dcsh_pg.archive import Archive
from dcsh_pg.database.archives import registry
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.period import Every
from dcsh_pg.database.search.query import Query
from dcsh_pg.database.search.scenes import scene_ids
from dcsh_pg.database.search.surface import distance_histogram, examples_of, similarity_surface
from dcsh_pg.errors import UsageError
from dcsh_pg.results.record import iso
from dcsh_pg.serve import compare
from dcsh_pg.serve.asked import AskedSearch, asking
from dcsh_pg.serve.columns import Columns
from dcsh_pg.serve.compare import FAR, Distances, distances, selected, span
from dcsh_pg.serve.footprint_tiles import to_mercator_unit
from dcsh_pg.serve.routes.archives import period_of
from dcsh_pg.serve.routes.shared import Name, TheService
from dcsh_pg.serve.service import Service

router = APIRouter(tags=["search"])

Degrees = tuple[float, float, float, float]


class AskedSurface(AskedSearch):
    """A surface: a search without k, and how fine and where the grid is."""

    zoom: Annotated[int, Field(ge=0, le=24)]
    bounds: Degrees | None = Field(None, description="West, south, east, north; all if left out")


@router.post("/archives/{name}/histogram")
async def histogram(name: Name, asked: AskedSearch, service: TheService) -> Response:
    """How many chips have each distance to the query, and how many are of each period.

    All chips that meet the filter but for ``max_distance`` count in ``distances``, those within
    ``max_distance`` in ``periods``.
    """
    return await run_sync(
        _answer, name, "histogram", asked, service, _histogram_in_columns, _histogram_in_sql,
        limiter=service.comparing,
    )  # fmt: skip


@router.post("/archives/{name}/surface")
async def surface(name: Name, asked: AskedSurface, service: TheService) -> Response:
    """The least distance to the query in each cell of a grid of Web Mercator, in columns.

    Cells are numbered from the west and the north, 2^zoom to the width of the Earth;
    ``max_distance`` has no part in it.
    """
    if asked.bounds is not None:
        west, south, east, north = asked.bounds
        if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
            raise UsageError("bounds are out of range", hint="west, south, east, north in degrees")
    return await run_sync(
        _answer, name, "surface", asked, service, _surface_in_columns, _surface_in_sql,
        limiter=service.comparing,
    )  # fmt: skip


Asked = TypeVar("Asked", bound=AskedSearch)


def _answer(
    name: str,
    kind: str,
    asked: Asked,
    service: Service,
    in_columns: Callable[[Columns, Distances, Asked, Filter], dict[str, Any]],
    in_sql: Callable[[psycopg.Connection, Archive, Query, Asked, Filter], dict[str, Any]],
) -> Response:
    """A comparison of all chips, made once: in the archive's columns; in SQL where there are none, or where
    only chips of an area are compared."""
    with service.reading() as conn:
        archive = service.archive(conn, name)
        key = (kind, asked.model_dump_json(exclude={"k"}))
        body = service.known(archive, key)
        if body is not None:
            return Response(body, media_type="application/json")
        query, filter = asking(conn, archive, asked)
        columns = None if filter.area is not None else service.columns(conn, archive)
        if columns is None:
            found = in_sql(conn, archive, query, asked, filter)
        else:
            examples = examples_of(conn, archive.name, query)
            scenes = scene_ids(conn, archive.name, filter)
    if columns is not None:  # the connection is free for others
        chosen = columns()
        far = distances(chosen, examples)
        is_in = selected(chosen, filter.since, filter.until, scenes)
        if is_in is not None:
            far[~is_in] = FAR
        found = in_columns(chosen, far, asked, filter)
    body = json.dumps(found).encode()
    service.keep(archive, key, body)
    return Response(body, media_type="application/json")


def _histogram_in_columns(
    columns: Columns, far: Distances, asked: AskedSearch, filter: Filter
) -> dict[str, Any]:
    every = period_of(span(columns))
    by_distance, by_period = compare.histogram(columns, far, every, filter.max_distance)
    return _histogram(by_distance, by_period, every)


def _histogram_in_sql(
    conn: psycopg.Connection, archive: Archive, query: Query, asked: AskedSearch, filter: Filter
) -> dict[str, Any]:
    every = period_of(registry.acquired(conn, archive.record))
    anywhere = replace(filter, max_distance=None)
    by_distance: Counter[int] = Counter()
    by_period: Counter[str] = Counter()
    for bin in distance_histogram(conn, archive.name, query, anywhere, every=every):
        by_distance[bin.distance] += bin.chips
        is_near = filter.max_distance is None or bin.distance <= filter.max_distance
        if every is not None and bin.period is not None and is_near:
            by_period[iso(bin.period)] += bin.chips
    return _histogram(by_distance, by_period, every)


def _histogram(
    by_distance: Mapping[int, int], by_period: Mapping[str, int], every: Every | None
) -> dict[str, Any]:
    return {
        "distances": sorted(by_distance.items()),
        "every": every,
        "periods": sorted(by_period.items()),
    }


def _surface_in_columns(
    columns: Columns, far: Distances, asked: AskedSurface, filter: Filter
) -> dict[str, Any]:
    window = None
    if asked.bounds is not None:
        west, south, east, north = asked.bounds
        x, y = to_mercator_unit(np.array([west, east]), np.array([south, north]))
        window = (x[0], y[0], x[1], y[1])
    return {"zoom": asked.zoom} | compare.cells(columns, far, asked.zoom, window)


def _surface_in_sql(
    conn: psycopg.Connection, archive: Archive, query: Query, asked: AskedSurface, filter: Filter
) -> dict[str, Any]:
    area = filter.area
    if asked.bounds is not None:
        seen = box(*asked.bounds)
        area = seen if area is None else seen.intersection(area)
        if area.is_empty:
            return {"zoom": asked.zoom, "x": [], "y": [], "distance": [], "chips": []}
    filter = replace(filter, max_distance=None, area=area)
    cells = similarity_surface(conn, archive.name, query, asked.zoom, filter)
    columns = {
        name: [getattr(cell, name) for cell in cells] for name in ("x", "y", "distance", "chips")
    }
    return {"zoom": asked.zoom} | columns

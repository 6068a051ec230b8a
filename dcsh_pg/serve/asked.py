"""The bodies of requests, and the queries and filters that they become."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import psycopg
from pydantic import BaseModel, ConfigDict, Field

from dcsh_pg import codes
from dcsh_pg.archive import Archive
from dcsh_pg.database.search.chips import chip_at
from dcsh_pg.database.search.cql2 import parse_text_condition
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.query import ChipQuery, CodeQuery, ExamplesQuery, Query, RegionQuery
from dcsh_pg.errors import ModelError, UsageError
from dcsh_pg.imagery.area import parse_area

MOST_HITS = 1000
"""Of a search on the page."""

Id = Annotated[int, Field(ge=1, lt=2**63)]
Ids = Annotated[list[Id], Field(max_length=500)]


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AskedQuery(Asked):
    """What to search for: exactly one of chip, at, code, region and likes."""

    chip: Annotated[Id | None, Field(description="A chip of the archive")] = None
    at: Annotated[
        tuple[float, float] | None, Field(description="Longitude and latitude: the chip there")
    ] = None
    code: Annotated[
        str | None,
        Field(max_length=1100, description="A code in hexadecimal with 0x before it, or as bits"),
    ] = None
    region: Annotated[
        dict[str, Any] | None, Field(description="A GeoJSON polygon: the chips that cover it")
    ] = None
    likes: Annotated[Ids, Field(description="Chips that are right")] = []
    unlikes: Annotated[Ids, Field(description="Chips that are wrong; only with likes")] = []


class AskedFilter(Asked):
    """Which chips are searched; every condition given must be met."""

    area: Annotated[
        dict[str, Any] | None, Field(description="A GeoJSON polygon that the chip intersects")
    ] = None
    since: Annotated[datetime | None, Field(description="Acquired at this time or later")] = None
    until: Annotated[datetime | None, Field(description="Acquired before this time")] = None
    max_distance: Annotated[int | None, Field(ge=0, le=1024, description="In bits")] = None
    where: Annotated[
        str | None,
        Field(
            max_length=4000,
            description="Condition on the properties of the scene, CQL2 text or JSON",
        ),
    ] = None
    scenes: Annotated[Ids | None, Field(description="Ids of the scenes to search")] = None


class AskedSearch(Asked):
    """A search."""

    query: AskedQuery
    filter: AskedFilter = AskedFilter()
    k: Annotated[int, Field(ge=1, le=MOST_HITS)] = 20


def query_of(conn: psycopg.Connection, archive_name: str, bits: int, asked: AskedQuery) -> Query:
    """The query that was asked.

    Raises:
        UsageError: none or several are given, or one is invalid.
        ModelError: the code has another length than the archive's.
        NotFound: no chip covers the place.
    """
    given = [
        name for name in ("chip", "at", "code", "region", "likes") if getattr(asked, name) not in (None, [])
    ]  # fmt: skip
    if len(given) != 1:
        raise UsageError(
            f"exactly one query is required, not {len(given)}",
            hint="give one of chip, at, code, region and likes",
        )
    if asked.unlikes and not asked.likes:
        raise UsageError("unlikes without likes", hint="mark at least one chip as right")
    if asked.chip is not None:
        return ChipQuery(asked.chip, caption=f"chip {asked.chip}")
    if asked.at is not None:
        found = chip_at(conn, archive_name, *asked.at)
        return ChipQuery(found, caption=f"chip {found}")
    if asked.code is not None:
        code = bytes(codes.from_text(asked.code))
        if 8 * len(code) != bits:
            raise ModelError(
                f"the code has {8 * len(code)} bits, archive '{archive_name}' has {bits}",
                hint="codes can be compared only with codes of the same model",
            )
        return CodeQuery(code, caption="code")
    if asked.region is not None:
        return RegionQuery(parse_area(json.dumps(asked.region), "region"), caption="region")
    return feedback(asked.likes, asked.unlikes)


def feedback(likes: list[int], unlikes: list[int]) -> Query:
    """The query that marks become: the one place that knows the rule."""
    caption = f"{len(likes)} right, {len(unlikes)} wrong"
    return ExamplesQuery(likes, unlikes, "rocchio", caption=caption)


def filter_of(asked: AskedFilter) -> Filter:
    """The filter that was asked.

    Raises:
        UsageError: a condition is invalid.
    """
    return Filter(
        area=None if asked.area is None else parse_area(json.dumps(asked.area), "area"),
        since=asked.since,
        until=asked.until,
        max_distance=asked.max_distance,
        where=None if not asked.where else parse_text_condition(asked.where, "where"),
        scenes=asked.scenes,
    )


def asking(conn: psycopg.Connection, archive: Archive, asked: AskedSearch) -> tuple[Query, Filter]:
    """The query and the filter of a request.

    Raises:
        UsageError, ModelError, NotFound: as :func:`query_of` and :func:`filter_of`.
    """
    query = query_of(conn, archive.name, archive.record.bits, asked.query)
    return query, filter_of(asked.filter)

"""Chips of an archive compared with each other: change between two dates, and near duplicates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from dcsh_pg.database.search.change import Change, find_changes
from dcsh_pg.database.search.near_duplicates import NearDuplicate, near_duplicates
from dcsh_pg.errors import UsageError
from dcsh_pg.results.record import iso, scene_name
from dcsh_pg.serve.answers import feature
from dcsh_pg.serve.asked import MOST_HITS, Asked, AskedFilter, filter_of
from dcsh_pg.serve.routes.shared import Name, TheService

router = APIRouter(tags=["compare"])

MOST_OF_GROUP = 50
"""Chips of a group of duplicates that an answer has."""


class AskedChange(Asked):
    """A comparison of two periods; the filter has no times and no distance."""

    until: Annotated[
        datetime, Field(description="End of the period before: the newest chip until then")
    ]
    after_until: Annotated[
        datetime, Field(description="End of the period after, which begins there")
    ]
    filter: AskedFilter = AskedFilter()
    k: Annotated[int, Field(ge=1, le=MOST_HITS)] = 20


class AskedDuplicates(Asked):
    """Groups of chips, each at most ``radius`` bits from the next."""

    radius: Annotated[int, Field(ge=0, lt=1024, description="In bits")] = 0
    filter: AskedFilter = AskedFilter()
    k: Annotated[int, Field(ge=1, le=MOST_HITS, description="Most groups, the largest first")] = 20


@router.post("/archives/{name}/change")
def find_change(name: Name, asked: AskedChange, service: TheService) -> dict[str, Any]:
    """What changed between two dates, most first, as a GeoJSON feature collection: ``dcsh.change``."""
    if asked.until >= asked.after_until:
        raise UsageError("the date before is not before the date after", hint="exchange the dates")
    with service.reading() as conn:
        archive = service.archive(conn, name)
        before, after = (None, asked.until), (asked.until, asked.after_until)
        found = find_changes(
            conn, archive.name, before, after, filter_of(asked.filter), k=asked.k
        )  # fmt: skip
    features = [_changed(change, rank) for rank, change in enumerate(found, start=1)]
    return {"type": "FeatureCollection", "features": features}


@router.post("/archives/{name}/duplicates")
def find_duplicates(name: Name, asked: AskedDuplicates, service: TheService) -> Response:
    """Groups of near duplicates, the largest first, as a GeoJSON feature collection: ``dcsh.near_duplicates``.

    ``groups`` and ``chips`` count all that were found; a group has at most its first 50 chips.
    """
    with service.reading() as conn:
        archive = service.archive(conn, name)
        body = service.once(
            archive,
            ("duplicates", asked.model_dump_json()),
            lambda: _grouped(
                near_duplicates(conn, archive.name, asked.radius, filter_of(asked.filter)), asked.k
            ),
        )
    return Response(body, media_type="application/json")


def _changed(change: Change, rank: int) -> dict[str, Any]:
    properties = {
        "rank": rank,
        "distance": change.distance,
        "scene": scene_name(change.uri),
        "acquired": iso(change.acquired),
        "thumbnail": f"chips/{change.id}/thumbnail",
        "overlap": change.overlap,
        "before_id": change.before_id,
        "before_scene": scene_name(change.before_uri),
        "before_acquired": iso(change.before_acquired),
        "before_thumbnail": f"chips/{change.before_id}/thumbnail",
    }
    return {"type": "Feature", "id": change.id, "geometry": change.footprint, "properties": properties}  # fmt: skip


def _grouped(found: Sequence[NearDuplicate], k: int) -> bytes:
    groups = [list(group) for _, group in groupby(found, key=lambda one: one.group_id)]
    largest = sorted(groups, key=lambda group: (-len(group), group[0].group_id))[:k]
    features = []
    for group in largest:
        for rank, one in enumerate(group[:MOST_OF_GROUP], start=1):
            made = feature(one.chip, rank)
            made["properties"] |= {"group_id": one.group_id, "group_chips": len(group)}
            features.append(made)
    content = {
        "type": "FeatureCollection",
        "features": features,
        "groups": len(groups),
        "chips": len(found),
    }
    return json.dumps(content).encode()

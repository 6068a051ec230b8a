"""Hits to write: what a search returns, without a search."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from dcsh_pg.database.search.hits import Hit


def _make_hit(number: int, **changes) -> Hit:
    west, south = -117.2 + 0.01 * number, 32.7
    east, north = west + 0.01, south + 0.01
    clockwise = [[west, north], [east, north], [east, south], [west, south], [west, north]]
    fields = {
        "id": 100 + number,
        "distance": 2 * number,
        "scene_id": number,
        "uri": f"file:///scenes/scene_{number}.tif",
        "window": (64 * number, 0, 64, 64),
        "footprint": {"type": "Polygon", "coordinates": [clockwise]},
        "acquired": datetime(2021, 7, 4, 18, 2, tzinfo=timezone(timedelta(hours=2))),
        "valid_fraction": 0.9,
        "properties": {"class": "beach"},
        "collection": "naip",
        "item_id": f"item_{number}",
    }
    return Hit(**fields | changes)


@pytest.fixture
def make_hit() -> Callable[..., Hit]:
    """A hit by its number, with any attribute changed."""
    return _make_hit


@pytest.fixture
def hits(make_hit) -> list[Hit]:
    """Five hits; the last knows neither its place nor its time nor its class."""
    known = [make_hit(number) for number in range(4)]
    return [*known, make_hit(4, footprint=None, acquired=None, properties={})]

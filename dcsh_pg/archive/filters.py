"""The keywords of a search, and the filter that they become."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, TypedDict

from dcsh_pg.database.search.cql2 import parse_condition
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.period import Time, to_time
from dcsh_pg.imagery.area import AreaLike, to_area


class SearchKeywords(TypedDict, total=False):
    """The keywords of :meth:`Archive.search`, for the searches that pass them on."""

    k: int | None
    area: AreaLike | None
    since: Time | None
    until: Time | None
    max_distance: int | None
    scenes: Collection[int] | None
    where: Mapping[str, Any] | str | None
    exact: bool
    refine: bool
    filter: Filter


def filter_of(
    base: Filter,
    *,
    area: AreaLike | None = None,
    since: Time | None = None,
    until: Time | None = None,
    max_distance: int | None = None,
    scenes: Collection[int] | None = None,
    where: Mapping[str, Any] | str | None = None,
) -> Filter:
    """``base`` with every condition that is given in place of its own.

    Raises:
        InputError: the file of an area cannot be read.
        UsageError: a value is not an area, a time or a condition; as :class:`Filter`.
    """
    given: dict[str, Any] = {
        "area": None if area is None else to_area(area),
        "since": to_time(since, "since"),
        "until": to_time(until, "until"),
        "max_distance": max_distance,
        "scenes": scenes,
        "where": parse_condition(where, "where") if isinstance(where, str) else where,
    }
    return replace(base, **{name: value for name, value in given.items() if value is not None})

"""Which chips a search, a statistic or an export takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from dcsh_pg.errors import UsageError

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Chips that meet every condition given; None is no condition.

    Attributes:
        area: geometry in EPSG:4326, longitude first, that the footprint intersects.
        since, until: since <= acquired < until; a time without a zone is UTC.
        max_distance: greatest Hamming distance to the query in bits; for searches only.
        scenes: ids of the scenes to search.
        where: condition on the properties of the scene, CQL2-JSON: ``dcsh.scenes_where``.
        stac: condition on the scene's STAC item in pgstac, CQL2-JSON: ``dcsh.scenes_in_stac``.

    Raises:
        UsageError: ``since`` is not before ``until``, ``max_distance`` is negative, or the area says
            that it is in another coordinate reference system.
    """

    area: BaseGeometry | None = None
    since: datetime | None = None
    until: datetime | None = None
    max_distance: int | None = None
    scenes: Collection[int] | None = None
    where: Mapping[str, Any] | None = None
    stac: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            time = getattr(self, name)
            if time is not None and time.tzinfo is None:
                object.__setattr__(self, name, time.replace(tzinfo=timezone.utc))
        if self.since and self.until and self.since >= self.until:
            raise UsageError(
                f"since {self.since.isoformat()} is not before until {self.until.isoformat()}",
                hint="since is included, until is not: 2021-01-01 to 2022-01-01 is the year 2021",
            )
        if self.max_distance is not None and self.max_distance < 0:
            raise UsageError(
                f"max_distance must not be negative, not {self.max_distance}",
                hint="None is without limit",
            )
        if self.area is not None:
            from shapely import get_srid

            if (srid := int(get_srid(self.area))) not in (0, 4326):
                raise UsageError(
                    f"the area is in EPSG:{srid}", hint="give it in EPSG:4326, longitude first"
                )

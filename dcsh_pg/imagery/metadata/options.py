"""What a run says of all its scenes: how they are opened, dated and georeferenced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property

from dcsh_pg.imagery.metadata.dates import DatePattern

Sign = Callable[[str], str]
"""Takes a URL and returns one that may be read, with a token for example."""


@dataclass(frozen=True)
class SceneOptions:
    """How scenes are opened, dated and georeferenced.

    Attributes:
        georeference: refuse rasters that are not georeferenced; False takes them without a
            footprint.  Plain pictures are never refused.
        acquired: acquisition time of all scenes that no sidecar, STAC item or table dates; without a
            time zone it is UTC.
        date_pattern: how file names write the date, see
            :class:`dcsh_pg.imagery.metadata.dates.DatePattern`.
        sign: called with a URL at every opening, because tokens expire.
        any_driver: open files that are found or listed with every driver of GDAL, including those
            that read what a file names (VRT, WMS); files that the user names always are.
        any_resolution: keep the pixels of scenes whose resolution is unknown, where a reading has one.

    Raises:
        UsageError: a date pattern that is invalid.
    """

    georeference: bool = True
    acquired: datetime | None = None
    date_pattern: str | None = None
    sign: Sign | None = None
    any_driver: bool = False
    any_resolution: bool = False

    def __post_init__(self) -> None:
        if self.acquired is not None and self.acquired.tzinfo is None:
            object.__setattr__(self, "acquired", self.acquired.replace(tzinfo=timezone.utc))
        _ = self._pattern  # raises where it is invalid

    @cached_property
    def _pattern(self) -> DatePattern | None:
        return DatePattern(self.date_pattern) if self.date_pattern else None

    def date_of(self, file_name: str) -> datetime | None:
        """The acquisition time that the options give to a file, or None."""
        return self.acquired or (self._pattern.find(file_name) if self._pattern else None)

"""What is asked of an archive: values without QGIS, that `statements` turns into SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union


class InvalidInput(ValueError):
    """What the user entered cannot be asked; its text is one line for the user."""


@dataclass(frozen=True)
class Archive:
    """An archive of a database.

    Attributes:
        name: in schema dcsh.
        bits: length of its codes.
        chips, scenes: numbers of each.
        has_postgis: footprints are PostGIS geometries, not PostgreSQL's polygons.
    """

    name: str
    bits: int
    chips: int = 0
    scenes: int = 0
    has_postgis: bool = True


@dataclass(frozen=True)
class ChipQuery:
    """Chips similar to a chip."""

    chip: int

    @property
    def caption(self) -> str:
        return f"chip {self.chip}"


@dataclass(frozen=True)
class CodeQuery:
    """Chips similar to a code, hexadecimal with 0x or bits."""

    code: str
    caption: str = "a code"


@dataclass(frozen=True)
class RegionQuery:
    """Chips similar to those that cover a region, WKT in EPSG:4326."""

    region: str
    caption: str = "a region"


@dataclass(frozen=True)
class ExamplesQuery:
    """Chips similar to the likes and not to the unlikes."""

    likes: tuple[int, ...]
    unlikes: tuple[int, ...] = ()

    @property
    def caption(self) -> str:
        return f"{len(self.likes)} right, {len(self.unlikes)} wrong"


Query = Union[ChipQuery, CodeQuery, RegionQuery, ExamplesQuery]


@dataclass(frozen=True)
class Filter:
    """Which chips are searched.

    Attributes:
        area: WKT in EPSG:4326 that the footprint intersects.
        since, until: ISO 8601; since <= acquired < until.
        max_distance: in bits.
        where: CQL2-JSON on the properties of the scene.
    """

    area: Optional[str] = None
    since: Optional[str] = None
    until: Optional[str] = None
    max_distance: Optional[int] = None
    where: Optional[str] = None

"""What a search looks for: a code, a chip, several chips or a region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dcsh_pg.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from shapely.geometry.base import BaseGeometry

Rule = Literal["min", "mean", "rocchio"]
"""Distance to several chips: to the nearest of them; the mean to all; or, of relevance feedback (Rocchio
1971), that to the signs of 2 mean(likes) - mean(unlikes) over bits as -1 and 1, its sizes the weights."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """How a query is answered, and how outputs show it.

    Attributes:
        exact: False permits an approximate index, which is faster and may miss hits:
            :mod:`dcsh_pg.database.archives.approximation`.
        caption: its name for people.
        pixels: its picture, uint8 (H, W, C), or None.
        footprint: GeoJSON geometry in longitude and latitude, or None.
        resolution: ground size of a pixel of the picture in metres, or None.
    """

    exact: bool = True
    caption: str = "query"
    pixels: npt.NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    footprint: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    resolution: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class CodeQuery(_Asked):
    """Chips similar to a packed code of K/8 bytes, for example that of an image: ``dcsh.similar``.

    Attributes:
        of_text: whether it is the code of a text: the nearest images are farther from one than from an
            image.
        z: the model's real values (K,) of what was hashed; None where only the code is known.
        refine: order chips of equal distance by ``tanh(z) . b``, with their bits b as -1 and 1.
    """

    code: bytes
    of_text: bool = field(default=False, compare=False, kw_only=True)
    z: Sequence[float] | None = field(default=None, repr=False, compare=False, kw_only=True)
    refine: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class ChipQuery(_Asked):
    """Chips similar to a chip of the archive, which is left out: ``dcsh.similar_to``.

    Attributes:
        z, refine: as of :class:`CodeQuery`; an archive does not store z.
    """

    chip: int
    z: Sequence[float] | None = field(default=None, repr=False, compare=False, kw_only=True)
    refine: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class ExamplesQuery(_Asked):
    """Chips similar to several chips, all of them left out: ``dcsh.similar_to_examples``.

    Attributes:
        likes: ids of the chips to be similar to, at least one.
        unlikes: ids of chips; by rules min and mean, chips nearer to these than to ``likes`` are
            left out, by rule rocchio they count less.
        rule: distance to several chips.
    """

    likes: Sequence[int]
    unlikes: Sequence[int] = ()
    rule: Rule = "min"

    def __post_init__(self) -> None:
        if not self.likes:
            raise UsageError("likes must not be empty", hint="give the id of at least one chip")


@dataclass(frozen=True)
class RegionQuery(_Asked):
    """Chips similar to those that cover a region, which are left out: ``dcsh.similar_region``.

    Attributes:
        region: geometry in EPSG:4326.
        rule: distance to several chips.
        min_share: a chip covers the region if its overlap is at least this share, 0 to 1, of the
            greatest overlap.
    """

    region: BaseGeometry
    rule: Rule = "min"
    min_share: float = 0.6


Query = CodeQuery | ChipQuery | ExamplesQuery | RegionQuery

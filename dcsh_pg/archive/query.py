"""What a search looks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from shapely import Geometry


@dataclass(frozen=True)
class Query:
    """What to look for.

    Attributes:
        code: its packed code, K/8 bytes; None where it has several.
        caption: what people call it.
        chip: its id, when it is a chip of the archive.
        pixels: uint8 (H, W, C), where there is a picture of it.
        footprint: GeoJSON geometry in longitude and latitude, where it has a place.
        likes, unlikes: ids, when it is several chips of the archive.
        region: shapely geometry in EPSG:4326, when it is the chips that cover one.
        resolution: ground size of a pixel of the picture in metres, where it is known.
    """

    code: bytes | None
    caption: str
    chip: int | None = None
    pixels: np.ndarray | None = None
    footprint: dict[str, Any] | None = None
    likes: Sequence[int] = ()
    unlikes: Sequence[int] = ()
    region: Geometry | None = None
    resolution: float | None = None

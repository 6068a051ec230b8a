"""What is known of a product of imagery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dcsh_pg.imagery.reading import Mask


def no_offset(properties: Mapping[str, Any]) -> int:
    """The values of all scenes mean the same."""
    return 0


@dataclass(frozen=True)
class Preset:
    """What is known of a product of imagery.

    Attributes:
        name: of the product; archives store it, so what it means does not change.
        bands: their names, in the product's order.
        dtype: type of their values.
        nodata: value of invalid pixels.
        mask: the band of clouds and shadows, or None.
        synonyms: other names of a band.
        offset: from the properties of a STAC item, what is added to the values of its bands.
    """

    name: str
    bands: tuple[str, ...]
    dtype: str
    nodata: int | None = None
    mask: Mask | None = None
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    offset: Callable[[Mapping[str, Any]], int] = no_offset

    def names(self, band: str) -> list[str]:
        """A band's name and its others."""
        return [band, *self.synonyms.get(band, ())]

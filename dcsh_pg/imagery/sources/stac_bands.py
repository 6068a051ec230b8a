"""Bands of STAC items by name: which asset has them, and where in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pystac

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.parts import Part
from dcsh_pg.imagery.presets import PRESETS
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.listed import absolute

_LISTS = ("bands", "eo:bands")
"""Where an asset lists its bands: in STAC 1.1, and before."""
_NAMES = ("name", "eo:common_name", "common_name")


@dataclass(frozen=True)
class FoundBand:
    """A band of an asset; ``number`` is counted from 1, ``offset`` is added to its values."""

    asset: pystac.Asset
    number: int = 1
    offset: int = 0

    def part(self, base: str, address: str) -> Part:
        return Part(href_of(self.asset, base, address), self.number, self.offset)


def href_of(asset: pystac.Asset, base: str, address: str) -> str:
    """The absolute address of an asset.

    Raises:
        InputError: it has none.
    """
    if not isinstance(asset.href, str) or not asset.href:
        raise InputError(f"{address}: its asset has no href")
    return absolute(asset.href, base)


def bands_of(
    item: pystac.Item, key: str | None, reading: Reading, *, address: str
) -> list[FoundBand]:
    """The bands of a reading among the assets of an item, the mask last.

    Empty where the reading has no names and no mask in another asset, or ``key`` names an asset that
    does not list its bands: the names are then those in its file.

    Args:
        key: of the only asset to look in for bands, or None.

    Raises:
        InputError: no asset, or several, have a band of that name.
    """
    names = [band for band in reading.bands or () if isinstance(band, str)]
    assets = item.assets if key is None else {k: a for k, a in item.assets.items() if k == key}
    if not names or len(names) < len(reading.bands or ()) or not assets:
        return []
    if key is not None and not any(map(_listed, assets.values())):
        return []
    preset = PRESETS.get(reading.preset or "")
    offset = preset.offset(item.properties) if preset else 0
    found = [_found(assets, name, reading, offset, address) for name in names]
    if reading.mask is not None:
        found.append(_found(item.assets, str(reading.mask.band), reading, 0, address))
    return found


def _found(
    assets: dict[str, pystac.Asset], name: str, reading: Reading, offset: int, address: str
) -> FoundBand:
    preset = PRESETS.get(reading.preset or "")
    wanted = preset.names(name) if preset else [name]
    for one in wanted:
        if one in assets:
            return FoundBand(assets[one], 1, offset)
    known = [
        (band.lower(), asset, number) for asset in assets.values() for band, number in _names(asset)
    ]
    for one in wanted:
        seen = [(asset, number) for band, asset, number in known if band == one.lower()]
        fewest = min((len(_listed(asset)) for asset, _ in seen), default=0)
        best = [(asset, number) for asset, number in seen if len(_listed(asset)) == fewest]
        if len({asset.href for asset, _ in best}) == 1:
            return FoundBand(*best[0], offset)
    bands = dict.fromkeys(band for asset in assets.values() for band, _ in _names(asset))
    is_mask = reading.mask is not None and name == reading.mask.band
    raise InputError(
        f"{address} has no {'mask' if is_mask else 'band'} {name!r}, or several",
        hint=f"its assets are {', '.join(assets)}"
        + (f"; bands in them: {', '.join(bands)}" if bands else "")
        + ("; --mask none takes all pixels" if is_mask else ""),
    )


def _listed(asset: pystac.Asset) -> list[dict[str, Any]]:
    """The bands that an asset lists."""
    for name in _LISTS:
        bands = asset.extra_fields.get(name)
        if isinstance(bands, list) and bands and all(isinstance(band, dict) for band in bands):
            return bands
    return []


def _names(asset: pystac.Asset) -> Iterator[tuple[str, int]]:
    """The names and common names of the bands of an asset, with their numbers."""
    for number, band in enumerate(_listed(asset), start=1):
        for name in dict.fromkeys(band.get(field) for field in _NAMES):
            if isinstance(name, str) and name:
                yield name, number

"""Pixels of any type as pictures for people."""

from __future__ import annotations

import numpy as np

from dcsh_pg.card import ModelCard
from dcsh_pg.pixel_types import UINT8, are_valid

SPREAD = 2.0
"""Standard deviations around the mean of a band that a picture shows."""

COLOURS = (
    ("red", "b04", "b4", "sr_b4"),
    ("green", "b03", "b3", "sr_b3"),
    ("blue", "b02", "b2", "sr_b2"),
)
"""Names of bands that are red, green and blue, in lower case."""


def displayed(pixels: np.ndarray, card: ModelCard) -> np.ndarray:
    """Pixels (..., C) that a model takes as uint8 for people, invalid ones black.

    Those of another type than uint8 are stretched around the mean of the model's training images, the
    same for all chips.  Bands with names of red, green and blue come first, of more than three.
    """
    chosen = _colours(card)
    if str(pixels.dtype) != UINT8:
        mean, std = np.array(card.mean)[chosen], np.array(card.std)[chosen]
        dark, bright = np.maximum(mean - SPREAD * std, 0), np.minimum(mean + SPREAD * std, 1)
        valid = are_valid(pixels)[..., None]
        scaled = card.pixels.scaled(np.where(valid, pixels, 0))[..., chosen]
        stretched = (scaled - dark) * (254.0 / np.maximum(bright - dark, 1e-9)) + 1
        shown: np.ndarray = np.where(valid, np.clip(np.rint(stretched), 1, 255), 0).astype(np.uint8)
        return shown
    return pixels[..., chosen] if chosen != sorted(chosen) else pixels


def _colours(card: ModelCard) -> list[int]:
    """The bands to show, counted from 0: red, green and blue where all have names, else all."""
    names = [name.lower() for name in card.band_names]
    found = [next((names.index(n) for n in synonyms if n in names), None) for synonyms in COLOURS]
    if card.bands > 3 and None not in found:
        return [index for index in found if index is not None]
    return list(range(card.bands))

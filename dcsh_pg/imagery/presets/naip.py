"""NAIP: red, green, blue and near infrared in one file of 8 bits, 0.3 to 1 m."""

from __future__ import annotations

from dcsh_pg.imagery.presets.preset import Preset

PRESET = Preset("naip", ("red", "green", "blue", "nir"), "uint8", synonyms={"nir": ("nir08",)})

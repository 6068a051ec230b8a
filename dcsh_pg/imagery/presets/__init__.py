"""Products whose bands, types, masks and offsets are known; one product a module."""

from __future__ import annotations

from typing import Any

from dcsh_pg.errors import UsageError
from dcsh_pg.imagery.presets.landsat_c2_l2 import PRESET as LANDSAT_C2_L2
from dcsh_pg.imagery.presets.naip import PRESET as NAIP
from dcsh_pg.imagery.presets.preset import Preset as Preset
from dcsh_pg.imagery.presets.sentinel_2_l2a import PRESET as SENTINEL_2_L2A

PRESETS = {preset.name: preset for preset in (SENTINEL_2_L2A, LANDSAT_C2_L2, NAIP)}
"""By name."""


def preset_fields(name: str) -> dict[str, Any]:
    """The fields of a :class:`dcsh_pg.imagery.Reading` that a preset gives, but for its ``dtype``.

    Raises:
        UsageError: there is no preset of that name.
    """
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}", hint=f"one of: {', '.join(PRESETS)}")
    preset = PRESETS[name]
    fields = {"preset": name, "bands": preset.bands, "nodata": preset.nodata, "mask": preset.mask}
    return {key: value for key, value in fields.items() if value is not None}

"""Sentinel-2 Level-2A: surface reflectance x 10,000, twelve bands of 10, 20 and 60 m.

Bands are assets B01 to B12 in some catalogues, coastal to swir22 in others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dcsh_pg.imagery.presets.preset import Preset
from dcsh_pg.imagery.reading import Mask

BASELINE = "04.00"
"""The first processing baseline whose values have 1,000 added."""

NO_USE = (0, 1, 3, 8, 9, 10)
"""Scene classes without a view of the ground: no data, defective, cloud shadow, cloud of medium and of high
probability, thin cirrus."""


def offset(properties: Mapping[str, Any]) -> int:
    """What makes the values of an item those of baselines before 04.00, unless its files have it applied."""
    if properties.get("earthsearch:boa_offset_applied") is True:
        return 0
    baseline = properties.get("s2:processing_baseline") or properties.get("processing:version")
    return -1000 if isinstance(baseline, str) and baseline >= BASELINE else 0


PRESET = Preset(
    "sentinel-2-l2a",
    ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"),
    "uint16",
    nodata=0,
    mask=Mask("SCL", values=NO_USE),
    synonyms={
        "B01": ("coastal", "B1"),
        "B02": ("blue", "B2"),
        "B03": ("green", "B3"),
        "B04": ("red", "B4"),
        "B05": ("rededge1", "B5"),
        "B06": ("rededge2", "B6"),
        "B07": ("rededge3", "B7"),
        "B08": ("nir", "B8"),
        "B8A": ("nir08",),
        "B09": ("nir09", "B9"),
        "B11": ("swir16",),
        "B12": ("swir22",),
        "SCL": ("scl",),
    },
    offset=offset,
)

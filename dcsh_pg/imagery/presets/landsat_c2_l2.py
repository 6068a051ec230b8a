"""Landsat 8 and 9 Collection 2 Level-2: surface reflectance of seven bands of 30 m.

Stored values v are reflectances v x 0.0000275 - 0.2 in all scenes, so they are taken as they are.
"""

from __future__ import annotations

from dcsh_pg.imagery.presets.preset import Preset
from dcsh_pg.imagery.reading import Mask

PRESET = Preset(
    "landsat-c2-l2",
    ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22"),
    "uint16",
    nodata=0,
    mask=Mask("qa_pixel", bits=(0, 1, 2, 3, 4)),  # fill, dilated cloud, cirrus, cloud, shadow
    synonyms={
        "coastal": ("SR_B1", "B1"),
        "blue": ("SR_B2", "B2"),
        "green": ("SR_B3", "B3"),
        "red": ("SR_B4", "B4"),
        "nir08": ("SR_B5", "B5"),
        "swir16": ("SR_B6", "B6"),
        "swir22": ("SR_B7", "B7"),
        "qa_pixel": ("QA_PIXEL",),
    },
)

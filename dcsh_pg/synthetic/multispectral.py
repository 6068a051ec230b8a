"""Synthetic scenes with the bands, types and resolutions of Sentinel-2 L2A, and their land cover.

Reflectances times 10,000 in uint16, 0 where there is no data.  Several covers are dark and differ by some tens of
units, in a range that bright ones stretch to ten thousand: what eight bits do not hold.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
METRES = (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20)
"""Ground size of a pixel of each band, as Sentinel-2 has them."""

COVERS: dict[str, tuple[int, ...]] = {
    "deep water": (330, 270, 190, 110, 90, 75, 70, 60, 55, 50, 30, 20),
    "clear water": (340, 300, 250, 140, 105, 80, 75, 65, 60, 50, 32, 22),
    "turbid water": (350, 320, 310, 240, 180, 110, 100, 85, 75, 60, 36, 25),
    "algal water": (335, 290, 285, 150, 170, 130, 120, 105, 90, 65, 33, 22),
    "spruce": (180, 190, 280, 200, 480, 1250, 1500, 1560, 1680, 1700, 760, 360),
    "pine": (190, 210, 310, 240, 520, 1240, 1470, 1540, 1640, 1660, 850, 420),
    "beech": (185, 205, 380, 220, 720, 2300, 2850, 2950, 3100, 3050, 1400, 620),
    "oak": (195, 220, 410, 260, 760, 2200, 2700, 2800, 2950, 2900, 1480, 700),
    "wheat": (300, 380, 640, 480, 1050, 2700, 3300, 3450, 3600, 3500, 1850, 1000),
    "bare soil": (800, 1000, 1350, 1750, 2000, 2150, 2300, 2400, 2550, 2600, 3200, 2900),
    "town": (1100, 1250, 1400, 1550, 1700, 1800, 1900, 2000, 2050, 2100, 2150, 1950),
    "snow": (9200, 9300, 9100, 9000, 8900, 8700, 8500, 8300, 8000, 7600, 1200, 900),
}
"""Mean reflectance x 10,000 of each cover, by band."""

_ROUGHNESS = dict.fromkeys(COVERS, 0.05) | {"town": 0.25, "snow": 0.03, "wheat": 0.1}
_SCENERIES = (
    ("deep water", "clear water", "turbid water", "algal water", "pine", "town"),
    ("spruce", "pine", "beech", "oak", "clear water", "wheat"),
    ("spruce", "pine", "snow", "deep water", "algal water", "bare soil"),
    ("wheat", "bare soil", "town", "oak", "beech", "turbid water"),
)
"""Covers that occur together in a scene."""


def make_scene(number: int, cells: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene of square fields, each of one cover; the same number makes the same scene.

    Args:
        cells: fields in a row and in a column.
        side: of a field in pixels.

    Returns:
        Pixels uint16 (12, H, W), and the cover of each field, an index of ``COVERS``, int (cells, cells).
    """
    rng = np.random.default_rng(number)
    names = list(COVERS)
    here = [names.index(name) for name in _SCENERIES[number % len(_SCENERIES)]]
    cover = rng.choice(here, (cells, cells))
    spectra = np.array(list(COVERS.values()), np.float32)[cover]  # (cells, cells, 12)
    roughness = np.array([_ROUGHNESS[name] for name in names], np.float32)[cover]
    pixels = np.moveaxis(_fields(spectra, side), -1, 0)
    texture = rng.normal(0, 1, (cells * side, cells * side)).astype(np.float32)
    texture = (texture + np.roll(texture, 1, 0) + np.roll(texture, 1, 1)) / np.float32(3**0.5)
    light = np.float32(rng.uniform(0.96, 1.04))  # what the correction of the atmosphere leaves
    pixels = pixels * light * (1 + _fields(roughness, side) * texture)
    pixels = pixels + rng.normal(0, 8, pixels.shape).astype(np.float32)
    return np.clip(np.rint(pixels), 1, 16_000).astype(np.uint16), cover


def write_scene(path: Path, pixels: np.ndarray, number: int) -> Path:
    """Writes a scene as one GeoTIFF whose bands have their names, 10 m, side by side with the others."""
    with rasterio.open(
        path, "w", driver="GTiff", width=pixels.shape[2], height=pixels.shape[1], count=len(pixels),
        dtype=pixels.dtype, nodata=0, tiled=True, blockxsize=256, blockysize=256, compress="deflate",
        crs="EPSG:32632", transform=_transform(number, pixels.shape[2]),
    ) as target:  # fmt: skip
        target.write(pixels)
        target.descriptions = BANDS[: len(pixels)]
    return path


def write_item(
    folder: Path, pixels: np.ndarray, number: int, *, cloudy: np.ndarray
) -> dict[str, Any]:
    """Writes a scene as a STAC item with an asset a band, each at the resolution of Sentinel-2, and SCL.

    Args:
        pixels: uint16 (12, H, W) at 10 m; H and W are multiples of 6.
        cloudy: bool (H / 2, W / 2), where SCL has clouds, at 20 m.

    Returns:
        The item, whose file lies in ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape[1:]
    bands = dict(zip(BANDS, zip(pixels, METRES, strict=True), strict=True))
    bands["SCL"] = np.where(cloudy, 9, 4).astype(np.uint8).repeat(2, 0).repeat(2, 1), 20
    assets = {}
    for name, (data, metres) in bands.items():
        times = metres // 10
        blocks = data.reshape(height // times, times, width // times, times)
        data = blocks[:, 0, :, 0] if name == "SCL" else np.rint(blocks.mean(axis=(1, 3)))
        place = _transform(number, width) @ rasterio.Affine.scale(times)
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", width=width // times, height=height // times,
            count=1, dtype="uint8" if name == "SCL" else "uint16", nodata=0, crs="EPSG:32632",
            transform=place,
        ) as target:  # fmt: skip
            target.write(data, 1)
        assets[name] = {
            "href": f"./{name}.tif",
            "type": "image/tiff; application=geotiff",
            "roles": ["data"],
            **({} if name == "SCL" else {"eo:bands": [{"name": name}]}),
        }
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"S2_{number}",
        "collection": "sentinel-2-l2a",
        "geometry": None,
        "properties": {
            "datetime": f"2021-07-{number % 28 + 1:02}T10:00:00Z",
            "s2:processing_baseline": "03.00",
        },
        "assets": assets,
        "links": [],
    }
    (folder / "item.json").write_text(json.dumps(item))
    return item


def _fields(values: np.ndarray, side: int) -> np.ndarray:
    """Values of fields (cells, cells, ...) as those of their pixels."""
    return values.repeat(side, axis=0).repeat(side, axis=1)


def _transform(number: int, width: int) -> rasterio.Affine:
    return from_origin(500_000 + number * (width + 100) * 10, 5_300_000, 10, 10)

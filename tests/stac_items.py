"""Small folders of STAC items with rasters at the items' places, for tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_bounds

from dcsh_pg.imagery.metadata.options import SceneOptions, Sign
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Scene
from dcsh_pg.imagery.sources.listed import listed_scenes
from dcsh_pg.imagery.sources.stac import stac_listing

SIDE = 128
"""Width and height of the rasters in pixels."""


def make_naip(folder: Path, items: int | None = None) -> Path:
    """The first ``items`` of 300 real NAIP items, all with None, each with a raster of its own.

    Each raster, uint8 RGB, fills the item's ``proj:bbox`` in the item's CRS; the item's ``proj:shape``
    and ``proj:transform`` tell of that raster.  The href of asset 'image' is relative to the file.

    Returns:
        The rewritten items, newline-delimited, in ``folder``.
    """
    data = os.environ.get("DCSH_TEST_DATA")
    if not data:
        pytest.skip("DCSH_TEST_DATA names no folder of test data: needs its stac/naip-items.ndjson")
    lines = Path(data, "stac", "naip-items.ndjson").read_text().splitlines()[:items]
    return write_items(folder / "naip.ndjson", [json.loads(line) for line in lines])


def make_item(number: int, *, collection: str | None = "made") -> dict[str, Any]:
    """One item of 1.28 km by 1.28 km near Valencia, with the asset 'image'; has no raster yet."""
    west, south = 724_000.0 + 1300 * number, 4_370_000.0
    bounds = [west, south, west + 1280, south + 1280]
    corners = [[-0.4, 39.4], [-0.3, 39.4], [-0.3, 39.5], [-0.4, 39.5], [-0.4, 39.4]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"item-{number}",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "bbox": [-0.4, 39.4, -0.3, 39.5],
        "properties": {
            "datetime": f"2021-07-{number + 1:02}T10:00:00Z",
            "gsd": 10,
            "eo:cloud_cover": 5 * number,
            "proj:epsg": 32630,
            "proj:bbox": bounds,
        },
        "assets": {"image": {"href": "", "type": "image/tiff", "roles": ["data"]}},
        "links": [],
    } | ({"collection": collection} if collection else {})


def write_items(file: Path, items: list[dict[str, Any]]) -> Path:
    """Writes items, newline-delimited, and for each a raster below ``images/`` beside them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    for number, item in enumerate(items):
        add_raster(item, file.parent, number)
    file.write_text("".join(json.dumps(item) + "\n" for item in items))
    return file


def written(file: Path, document: Any) -> Path:
    """Writes JSON; gives the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))
    return file


def parsed(items: Path) -> list[dict[str, Any]]:
    """The items of a newline-delimited file."""
    return [json.loads(line) for line in items.read_text().splitlines()]


def scenes_of(
    source: Path | str, *, chip_size: int | None = 64, sign: Sign | None = None, **options: Any
) -> list[Scene]:
    """The scenes of a STAC source for a model of three bands."""
    reading = Reading(chip_size=chip_size)
    listed = stac_listing(str(source), **options)
    return listed_scenes(listed, reading=reading, bands=3, options=SceneOptions(sign=sign))


def add_raster(item: dict[str, Any], folder: Path, seed: int, *, placed: bool = True) -> Path:
    """Writes the raster of an item into ``folder`` and lets the item, that lies there, name it.

    Its pixels follow from ``seed``.  A raster that is not ``placed`` has no CRS and no transform.
    """
    properties = item["properties"]
    transform = from_bounds(*properties["proj:bbox"], SIDE, SIDE)
    properties |= {"proj:shape": [SIDE, SIDE], "proj:transform": list(transform)}
    item["assets"]["image"]["href"] = f"./images/{item['id']}.tif"
    item["links"] = []
    place = {"crs": f"EPSG:{properties['proj:epsg']}", "transform": transform} if placed else {}
    path = folder / "images" / f"{item['id']}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = _ground(np.random.default_rng(seed))
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=3, dtype="uint8", **place
    ) as target:
        target.write(pixels)
    return path


def _ground(rng: np.random.Generator) -> np.ndarray:
    """uint8 (3, SIDE, SIDE), patches of colour with some noise; no pixel is 0."""
    patches = rng.integers(20, 220, (3, SIDE // 16, SIDE // 16))
    smooth = patches.repeat(16, axis=1).repeat(16, axis=2)
    return (smooth + rng.integers(0, 20, smooth.shape)).astype(np.uint8)

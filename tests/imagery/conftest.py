"""Small rasters and pictures, written where a test wants them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Scene
from dcsh_pg.imagery.sources.files import find_scenes

UTM = from_origin(500_000, 5_300_000, 1, 1)


@pytest.fixture
def noise_rgb() -> np.ndarray:
    """uint8 (3, 100, 130), no zeros."""
    return np.random.default_rng(0).integers(1, 255, (3, 100, 130), dtype=np.uint8)


@pytest.fixture
def write_raster(tmp_path: Path) -> Callable[..., Path]:
    def write(name, data, *, crs="EPSG:32632", transform=UTM, tags=None, **profile) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        count, height, width = data.shape
        with rasterio.open(
            path, "w", driver="GTiff", count=count, height=height, width=width,
            dtype=data.dtype, crs=crs, transform=transform, **profile,
        ) as target:  # fmt: skip
            target.write(data)
            target.update_tags(**(tags or {}))
        return path

    return write


@pytest.fixture
def one_scene() -> Callable[..., Scene]:
    def find(source, reading=None, *, bands=3, **options) -> Scene:
        reading = reading or Reading(chip_size=64)
        (scene,) = find_scenes(
            [str(source)], reading=reading, bands=bands, options=SceneOptions(**options)
        )
        return scene

    return find

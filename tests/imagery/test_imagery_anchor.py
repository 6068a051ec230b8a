"""Grids that are anchored to the ground: scenes of one place with different extents are cut alike."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from dcsh_pg.imagery.reading import Reading

ORIGIN = (500_003.0, 5_300_011.0)
RESOLUTION = 0.5


def cut(scene):
    with scene:
        record = scene.describe()
        chips = scene.read(record.windows)
    return {
        footprint.wkt: pixels
        for footprint, pixels in zip(
            shapely.set_precision(chips.footprints, 1e-9), chips.pixels, strict=True
        )
    }


@pytest.fixture
def ground():
    """uint8 (3, 300, 400), no zeros: what there is to see from ORIGIN on."""
    return np.random.default_rng(0).integers(1, 255, (3, 300, 400), dtype=np.uint8)


def extent(ground, left, top, width, height):
    transform = from_origin(
        ORIGIN[0] + left * RESOLUTION, ORIGIN[1] - top * RESOLUTION, RESOLUTION, RESOLUTION
    )
    return ground[:, top : top + height, left : left + width], transform


@pytest.mark.parametrize("edge", ["drop", "pad"])
@pytest.mark.parametrize("stride", [None, 32])
def test_anchored_chips_do_not_depend_on_the_extent(write_raster, one_scene, ground, edge, stride):
    reading = Reading(chip_size=64, stride=stride, edge=edge, anchor=True)
    taken = []
    for name, bounds in (("a.tif", (0, 0, 400, 300)), ("b.tif", (37, 51, 280, 233))):
        pixels, transform = extent(ground, *bounds)
        taken.append(cut(one_scene(write_raster(name, pixels, transform=transform), reading)))
    whole, part = taken
    full = {place: pixels for place, pixels in part.items() if pixels.all()}
    assert len(full) >= 6
    assert all((whole[place] == pixels).all() for place, pixels in full.items())
    assert edge == "pad" or len(full) == len(part)


def test_anchored_corners_are_multiples_of_the_chip_in_the_crs(write_raster, one_scene, ground):
    pixels, transform = extent(ground, 0, 0, 400, 300)
    scene = one_scene(
        write_raster("a.tif", pixels, transform=transform),
        Reading(chip_size=64, edge="drop", anchor=True),
    )
    with scene:
        windows = scene.describe().windows
    x, y = rasterio.transform.xy(transform, windows[:, 1], windows[:, 0], offset="ul")
    assert np.allclose(np.mod(x, 64 * RESOLUTION), 0)
    assert np.allclose(np.mod(y, 64 * RESOLUTION), 0)


def test_padding_at_the_left_and_upper_edge_is_black_and_invalid(write_raster, one_scene, ground):
    pixels, transform = extent(ground, 0, 0, 400, 300)
    file = write_raster("a.tif", pixels, transform=transform)
    with one_scene(file, Reading(chip_size=64, edge="pad", anchor=True)) as scene:
        windows = scene.describe().windows
        chips = scene.read(windows)
    assert windows[:, 0].min() < 0 and windows[:, 1].min() < 0
    padded = np.pad(pixels, ((0, 0), (64, 64), (64, 64)))
    for (left, top, width, height), chip, valid in zip(
        windows.tolist(), chips.pixels, chips.valid_fraction, strict=True
    ):
        expected = padded[:, top + 64 : top + 64 + height, left + 64 : left + 64 + width]
        assert (chip == np.moveaxis(expected, 0, -1)).all()
        assert valid == pytest.approx(expected.all(axis=0).mean())


def test_a_scene_without_georeference_keeps_its_own_grid(write_raster, one_scene, noise_rgb):
    file = write_raster("a.tif", noise_rgb, crs=None, transform=rasterio.Affine.identity())
    reading = Reading(chip_size=64, edge="drop", anchor=True)
    with one_scene(file, reading, georeference=False) as scene:
        assert scene.describe().windows[0].tolist() == [0, 0, 64, 64]

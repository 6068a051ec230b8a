"""Real rasters and pictures; runs where DCSH_TEST_DATA names a folder that holds them."""

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import are_plain_pictures, find_scenes

DATA = os.environ.get("DCSH_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="DCSH_TEST_DATA names no folder of test imagery")


def scene_of(name, **options):
    options = {"reading": Reading(chip_size=128), "bands": 3} | options
    return find_scenes([str(Path(DATA, "geotiff", name))], **options)[0]


@pytest.mark.parametrize(
    ("name", "code", "metres"),
    [
        ("201404_13SED190110_201404_0x1500m_CL_1.tif", "EPSG:26913", 0.15),
        ("RGB.byte.tif", "EPSG:32618", 299.9),
        ("cog_rgb.tif", "EPSG:26913", 0.15),
        ("cogeo.tif", "EPSG:3857", 0.472),
        ("mosaic_cog1.tif", "EPSG:32618", 300.2),
    ],
)
def test_footprints_cover_the_extent_that_gdal_reports(name, code, metres):
    scene = scene_of(name)
    record = scene.describe()
    assert record.proj_code == code and record.resolution == pytest.approx(metres, rel=1e-3)
    chips = scene.read(record.windows)
    with rasterio.open(scene.uri) as source:
        expected = transform_bounds(source.crs, "EPSG:4326", *source.bounds)
    bounds = np.array([footprint.bounds for footprint in chips.footprints])
    found = [*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)]
    np.testing.assert_allclose(found, expected, atol=2e-3 * (expected[2] - expected[0]))


@pytest.mark.parametrize("name", ["cog_int16.tif", "cog_nodata.tif", "float.tif"])
def test_one_band_for_a_model_of_three(name):
    with pytest.raises(InputError, match="1 band, the model takes 3"):
        scene_of(name).describe()


def test_nodata_and_sixteen_bits():
    scene = scene_of("cog_nodata.tif", reading=Reading(chip_size=128, bands=(1, 1, 1)))
    record = scene.describe()
    chips = scene.read(record.windows)
    assert 0.4 < chips.valid_fraction.mean() < 0.6
    assert not chips.pixels[chips.valid_fraction == 0].any()
    assert chips.pixels[chips.valid_fraction == 1].mean() > 20


def test_a_damaged_block():
    scene = scene_of("corrupt.tif")
    windows = scene.describe().windows
    with pytest.raises(InputError, match=r"corrupt\.tif cannot be read"):
        scene.read(windows)


def test_a_real_raster_without_crs():
    one = {"bands": 1, "reading": Reading(chip_size=8)}
    with pytest.raises(InputError, match="no coordinate reference system"):
        scene_of("float.tif", **one).describe()
    scene = scene_of("float.tif", options=SceneOptions(georeference=False), **one)
    assert scene.read(scene.describe().windows).footprints is None


def test_pictures_in_class_folders():
    folder = str(Path(DATA, "ucmd"))
    assert are_plain_pictures([folder])
    scenes = find_scenes([folder], reading=Reading(), bands=3)
    assert len(scenes) == 2100
    record = scenes[0].describe()
    assert record.properties["class"] == "agricultural"
    assert scenes[0].read(record.windows).pixels.shape[1:] == (record.height, record.width, 3)

import numpy as np
import pytest
from PIL import Image

from dcsh_pg.errors import InputError, UsageError
from dcsh_pg.imagery.query import read_query
from dcsh_pg.imagery.reading import Reading

READING = Reading(chip_size=64, stride=32, scale=(0.0, 510.0))


def test_any_size_is_one_chip_read_like_the_archive(write_raster, one_scene, noise_rgb):
    path = write_raster("a.tif", noise_rgb)
    whole = read_query(str(path), reading=READING, bands=3).pixels
    assert whole.shape == (1, 100, 130, 3) and whole.max() <= 128
    scene = one_scene(path, READING)
    windows = scene.describe().windows
    part = read_query(str(path), reading=READING, bands=3, window=tuple(windows[1].tolist()))
    part = part.pixels
    assert np.array_equal(part, scene.read(windows[1:2]).pixels)


def test_a_query_needs_no_georeference(write_raster, noise_rgb):
    path = write_raster("a.tif", noise_rgb, crs=None)
    assert len(read_query(str(path), reading=Reading(chip_size=64), bands=3).pixels) == 1


def test_windows_of_pictures(tmp_path, noise_rgb):
    picture = np.moveaxis(noise_rgb, 0, -1)
    Image.fromarray(picture).save(tmp_path / "a.png")
    pixels = read_query(
        str(tmp_path / "a.png"), reading=Reading(), bands=3, window=(10, 20, 30, 40)
    )
    assert np.array_equal(pixels.pixels[0], picture[20:60, 10:40])


@pytest.mark.parametrize("window", [(0, 0, 500, 500), (-1, 0, 10, 10), (0, 0, 0, 10)])
def test_windows_that_do_not_fit(write_raster, noise_rgb, window):
    path = str(write_raster("a.tif", noise_rgb))
    with pytest.raises(UsageError, match="--window") as refusal:
        read_query(path, reading=READING, bands=3, window=window)
    assert "130 pixels wide and 100 high" in refusal.value.hint


def test_a_query_without_valid_pixels_is_refused(write_raster, noise_rgb):
    path = write_raster("a.tif", noise_rgb * 0, nodata=0)
    with pytest.raises(InputError, match="no valid pixel"):
        read_query(str(path), reading=READING, bands=3)


def test_a_folder_is_refused_as_query(write_raster, noise_rgb, tmp_path):
    write_raster("a.tif", noise_rgb)
    write_raster("b.tif", noise_rgb)
    with pytest.raises(UsageError, match="contains 2 images"):
        read_query(str(tmp_path), reading=READING, bands=3)

"""Windows in strips, and windows too large for a model."""

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.transform import from_origin

from dcsh_pg.imagery import Reading, find_scenes, reduce
from dcsh_pg.imagery.query import read_query


def brute_force(pixels, valid, factor):
    """Means over blocks, pixel by pixel."""
    height, width = valid.shape
    out = np.zeros((-(-height // factor), -(-width // factor), pixels.shape[2]), np.uint8)
    for row, column in np.ndindex(*out.shape[:2]):
        block = np.s_[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        if valid[block].any():
            values = pixels[block][valid[block]].astype(int)
            out[row, column] = (values.sum(0) + len(values) // 2) // len(values)
    return out


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    window=st.tuples(
        st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 50), st.integers(1, 50)
    ),
    most=st.sampled_from([16, 100, 1 << 24]),
    strip=st.integers(1, 300),
)
def test_a_window_equals_that_part_of_the_reduced_whole(size, window, most, strip):
    width, height = size
    left, top, w, h = window
    random = np.random.default_rng(w * h)
    whole = np.zeros((120, 120, 2), np.uint8)
    whole_valid = np.zeros((120, 120), bool)
    inside = np.s_[30 : 30 + height, 30 : 30 + width]
    valid = random.random((height, width)) < 0.8
    whole_valid[inside] = valid
    whole[inside] = random.integers(0, 256, (height, width, 2)) * valid[..., None]
    asked = np.s_[30 + top : 30 + top + h, 30 + left : 30 + left + w]

    def read(left, top, width, height):
        assert left >= 0 and top >= 0 and left + width <= size[0] and top + height <= size[1]
        part = np.s_[30 + top : 30 + top + height, 30 + left : 30 + left + width]
        return whole[part], whole_valid[part]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduce, "MAX_CHIP_PIXELS", most)
        patch.setattr(reduce, "STRIP_PIXELS", strip)
        out = np.zeros((*reduce.reduced_shape(w, h), 2), np.uint8)
        share = reduce.read_window(out, window, size, read)
        factor = reduce.reduction(w, h)
    assert share == np.count_nonzero(whole_valid[asked]) / (w * h)
    assert np.array_equal(out, brute_force(whole[asked], whole_valid[asked], factor))


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(reduce, "MAX_CHIP_PIXELS", 64 * 64)


@pytest.fixture
def pixels():
    """Smooth, 150 by 200 pixels."""
    y, x = np.mgrid[:150, :200]
    return np.stack([x, y, (x + y) // 2], -1).astype(np.uint8)


def write(file, pixels, orientation=None):
    if file.suffix == ".tif":
        options = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32630"}
        options |= {"width": pixels.shape[1], "height": pixels.shape[0]}
        with rasterio.open(file, "w", transform=from_origin(7e5, 4e6, 1, 1), **options) as out:
            out.write(np.moveaxis(pixels, -1, 0))
        return file
    image = Image.fromarray(pixels)
    exif = image.getexif()
    if orientation:
        exif[0x0112] = orientation
    image.save(file, exif=exif, **({"quality": 95} if file.suffix == ".jpg" else {}))
    return file


@pytest.mark.parametrize("kind", ["tif", "png", "jpg"])
@pytest.mark.parametrize("orientation", [None, 6])
def test_archives_and_queries_reduce_large_images_alike(
    tmp_path, pixels, small_limit, kind, orientation
):
    file = write(tmp_path / f"large.{kind}", pixels, orientation)
    reading = Reading()
    [scene] = find_scenes([str(file)], reading=reading, bands=3)
    record = scene.describe()
    chips = scene.read(record.windows)
    upright = np.rot90(pixels, -1) if orientation and kind != "tif" else pixels
    assert (record.height, record.width) == upright.shape[:2]
    reduced = brute_force(upright, np.ones(upright.shape[:2], bool), 4)
    assert chips.pixels.shape == (1, *reduced.shape)
    assert chips.valid_fraction.tolist() == [1.0]
    difference = np.abs(chips.pixels[0].astype(int) - reduced).max()
    assert difference <= (6 if kind == "jpg" else 0)
    assert np.array_equal(read_query(str(file), reading=reading, bands=3).pixels, chips.pixels)

    window = (3, 5, 60, 64)
    part = read_query(str(file), reading=reading, bands=3, window=window).pixels[0]
    expected = upright[5:69, 3:63].astype(int)
    assert np.abs(part - expected).max() <= (12 if kind == "jpg" else 0)


@pytest.mark.parametrize("kind", ["tif", "png"])
def test_small_windows_are_not_reduced(tmp_path, pixels, kind):
    file = write(tmp_path / f"small.{kind}", pixels)
    [scene] = find_scenes([str(file)], reading=Reading(), bands=3)
    assert np.array_equal(scene.read(scene.describe().windows).pixels[0], pixels)
    assert reduce.reduction(4096, 4096) == 1
    assert (reduce.reduction(4097, 4096), reduce.reduction(30000, 30000)) == (2, 8)

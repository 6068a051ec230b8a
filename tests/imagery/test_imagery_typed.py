"""Scenes read with all the depth of their type."""

import numpy as np
import pytest
import rasterio
from PIL import Image

from dcsh_pg.errors import InputError, UsageError
from dcsh_pg.imagery import reduce
from dcsh_pg.imagery.query import read_query
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import native_type
from dcsh_pg.pixel_types import are_valid, blank

KINDS = {"int8": np.int8, "uint16": np.uint16, "int16": np.int16, "float32": np.float32}


def noise(dtype, bands=12, height=100, width=130):
    rng = np.random.default_rng(3)
    if dtype == "float32":
        return rng.normal(0.2, 0.1, (bands, height, width)).astype(np.float32)
    ends = np.iinfo(dtype)
    return rng.integers(ends.min + 1, ends.max, (bands, height, width)).astype(dtype)


def chips_of(scene):
    record = scene.describe()
    return record, scene.read(record.windows)


@pytest.mark.parametrize("dtype", KINDS)
def test_pixels_keep_their_type_and_values(dtype, write_raster, one_scene):
    data = noise(dtype)
    path = write_raster("a.tif", data)
    assert native_type([str(path)]) == dtype
    reading = Reading(chip_size=64, dtype=dtype)
    record, chips = chips_of(one_scene(path, reading, bands=12))
    assert chips.pixels.dtype == dtype and (chips.valid_fraction == 1).all()
    for pixels, (left, top, w, h) in zip(chips.pixels, chips.windows, strict=True):
        part = data[:, top : top + h, left : left + w]
        assert np.array_equal(pixels, np.moveaxis(part, 0, -1))
    assert "scale" not in record.properties and record.properties["dtype"] == dtype
    query = read_query(str(path), reading=reading, bands=12, window=(3, 5, 20, 30))
    assert np.array_equal(query.pixels[0], np.moveaxis(data[:, 5:35, 3:23], 0, -1))


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(k, d) for k in ("nodata", "mask", "given", "padding") for d in ("uint16", "float32")]
    + [("nan", "float32")],
)
def test_invalid_pixels_are_marked_and_counted(kind, dtype, write_raster, one_scene):
    data, hole, given = noise(dtype), np.s_[..., 16:48, :64], None
    reading = {"chip_size": 64, "dtype": dtype}
    profile = {}
    if kind in ("nodata", "given"):
        data[hole] = 55
        profile = {"nodata": 55} if kind == "nodata" else {}
        given = 55 if kind == "given" else None
    elif kind == "nan":
        data[hole] = np.nan
    elif kind == "padding":
        data, reading = data[:, :32, :64], reading | {"edge": "pad"}
    path = write_raster("a.tif", data, **profile)
    if kind == "mask":
        mask = np.full(data.shape[1:], 255, np.uint8)
        mask[hole[1:]] = 0
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
            target.write_mask(mask)
    _, chips = chips_of(one_scene(path, Reading(**reading, nodata=given), bands=12))
    assert chips.valid_fraction[0] == pytest.approx(0.5)
    valid = are_valid(chips.pixels[0])
    expected = np.ones((64, 64), bool)
    expected[32:] = kind != "padding"
    if kind != "padding":
        expected[16:48] = False
    assert np.array_equal(valid, expected)
    assert np.array_equal(chips.pixels[0][~valid], blank(((~valid).sum(), 12), dtype), True)


def test_a_valid_pixel_that_looks_invalid_stays_valid(write_raster, one_scene):
    data = noise("uint16", bands=2)
    data[:, :50] = 0
    data[0, 0, 0] = 9
    reading = Reading(chip_size=64, dtype="uint16")
    _, chips = chips_of(one_scene(write_raster("a.tif", data), reading, bands=2))
    assert are_valid(chips.pixels).all() and (chips.valid_fraction == 1).all()
    assert chips.pixels[0, 1, 1].tolist() == [1, 0] and chips.pixels[0, 0, 0].tolist() == [9, 0]


@pytest.mark.parametrize(
    ("dtype", "asked", "reason"),
    [("uint8", "uint16", "contains uint8"), ("uint16", "int16", "contains uint16")],
)
def test_another_type_than_the_models_is_refused(dtype, asked, reason, write_raster, one_scene):
    data = np.ones((12, 64, 64), dtype)
    with pytest.raises(InputError, match=f"{reason}, the model takes {asked}") as refused:
        one_scene(write_raster("a.tif", data), Reading(dtype=asked), bands=12).describe()
    assert "--dtype" in refused.value.hint


def test_a_picture_of_another_type_is_refused_and_one_of_sixteen_bits_read(tmp_path, one_scene):
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "a.png")
    deep = np.arange(1, 1601, dtype=np.uint16).reshape(40, 40) * 40
    Image.fromarray(deep).save(tmp_path / "b.png")
    reading = Reading(dtype="uint16")
    with pytest.raises(InputError, match=r"a.png contains uint8, the model takes uint16"):
        chips_of(one_scene(tmp_path / "a.png", reading, bands=1))
    _, chips = chips_of(one_scene(tmp_path / "b.png", reading, bands=1))
    assert np.array_equal(chips.pixels[0, ..., 0], deep)


def test_floats_take_scale_and_offset_and_integers_only_whole_offsets(write_raster, one_scene):
    data = noise("uint16", bands=2)
    paths = [write_raster(f"{n}.tif", data) for n in range(2)]
    for path, scale, offset in zip(paths, (1e-4, 1), (-0.1, -1000), strict=True):
        with rasterio.open(path, "r+") as target:
            target.scales, target.offsets = (scale, scale), (offset, offset)
    assert [native_type([str(path)]) for path in paths] == ["float32", "float32"]
    assert native_type([str(paths[0])], raw_values=True) == "uint16"
    _, chips = chips_of(one_scene(paths[0], Reading(64, dtype="float32"), bands=2))
    expected = np.moveaxis(data[:, :64, :64] * 1e-4 - 0.1, 0, -1).astype(np.float32)
    assert np.array_equal(chips.pixels[0], expected)
    with pytest.raises(InputError, match="fractions"):
        one_scene(paths[0], Reading(64, dtype="uint16"), bands=2).describe()
    _, chips = chips_of(one_scene(paths[1], Reading(64, dtype="uint16"), bands=2))
    expected = np.maximum(data[:, :64, :64].astype(int) - 1000, 0)
    difference = chips.pixels[0] - np.moveaxis(expected, 0, -1)
    assert (difference[..., 1] == 0).all() and (difference[..., 0] <= 1).all()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_large_window_is_reduced_by_bytes_and_by_valid_pixels(
    dtype, write_raster, one_scene, monkeypatch
):
    monkeypatch.setattr(reduce, "MAX_CHIP_PIXELS", 4096)
    monkeypatch.setattr(reduce, "STRIP_PIXELS", 700)
    data = noise(dtype, bands=4, height=96, width=130)
    data[:, 8:40, 20:77] = 55
    path = write_raster("a.tif", data, nodata=55)
    scene = one_scene(path, Reading(dtype=dtype), bands=4)
    _, chips = chips_of(scene)
    factor, shape = (4, (24, 33)) if dtype == "uint16" else (8, (12, 17))
    assert chips.pixels.nbytes <= 3 * 4096 and chips.pixels.shape[1:3] == shape
    assert scene.chip_bytes(chips.windows[0]) == chips.pixels.nbytes
    valid = (data != 55).any(axis=0)
    assert chips.valid_fraction[0] == pytest.approx(valid.mean())
    for row, column in np.ndindex(shape):
        rows, columns = (slice(n * factor, (n + 1) * factor) for n in (row, column))
        seen = data[:, rows, columns][:, valid[rows, columns]].astype(np.float64)
        pixel = chips.pixels[0, row, column]
        assert bool(seen.size) == bool(are_valid(pixel))
        if seen.size:
            mean = seen.mean(axis=1)
            np.testing.assert_allclose(
                pixel, mean if dtype == "float32" else np.rint(mean), rtol=1e-5
            )


def test_a_stored_reading_without_a_type_means_uint8_and_stays_as_it_was():
    stored = Reading(chip_size=64).to_json()
    assert "dtype" not in stored and Reading.from_json(stored).dtype == "uint8"
    typed = Reading(chip_size=64, dtype="float32", nodata=-9999.0)
    assert Reading.from_json(typed.to_json()) == typed


def test_senseless_types_are_refused():
    with pytest.raises(UsageError, match="--dtype 'complex64'"):
        Reading(dtype="complex64")
    with pytest.raises(UsageError, match="--scale is for models of 8 bits"):
        Reading(dtype="uint16", scale=(0.0, 3000.0))

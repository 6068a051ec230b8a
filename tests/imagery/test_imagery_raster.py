import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.pixels.gdal import OPEN_PER_THREAD
from dcsh_pg.imagery.query import read_query
from dcsh_pg.imagery.reading import Reading


def chips_of(scene):
    record = scene.describe()
    return record, scene.read(record.windows)


def test_pixels_are_those_of_the_windows(write_raster, one_scene, noise_rgb):
    record, chips = chips_of(one_scene(write_raster("a.tif", noise_rgb)))
    assert (record.width, record.height) == (130, 100)
    assert (record.proj_code, round(record.resolution, 2)) == ("EPSG:32632", 1.0)
    assert chips.pixels.dtype == np.uint8 and chips.pixels.shape == (6, 64, 64, 3)
    for pixels, (left, top, w, h) in zip(chips.pixels, chips.windows, strict=True):
        part = noise_rgb[:, top : top + h, left : left + w]
        assert np.array_equal(pixels, np.moveaxis(part, 0, -1))
    assert (chips.valid_fraction == 1).all() and len(chips.footprints) == 6


def test_padding_is_black_and_invalid(write_raster, one_scene, noise_rgb):
    path = write_raster("a.tif", noise_rgb)
    _, chips = chips_of(one_scene(path, Reading(chip_size=128, edge="pad")))
    np.testing.assert_allclose(chips.valid_fraction, [100 / 128, 100 * 2 / 128**2])
    assert (chips.pixels[1, :, 2:] == 0).all() and (chips.pixels[1, :100, :2] > 0).all()


@pytest.mark.parametrize("kind", ["nodata", "alpha", "mask", "nan"])
def test_invalid_pixels_are_black_and_counted(kind, write_raster, one_scene, noise_rgb):
    hole = np.s_[..., 16:48, :64]
    if kind == "nodata":
        noise_rgb[hole] = 0
        path = write_raster("a.tif", noise_rgb, nodata=0)
    elif kind == "alpha":
        alpha = np.full((1, 100, 130), 255, np.uint8)
        alpha[hole] = 0
        data = np.concatenate([noise_rgb, alpha])
        path = write_raster("a.tif", data, photometric="RGB", ALPHA="YES")
    elif kind == "mask":
        mask = np.full((100, 130), 255, np.uint8)
        mask[hole] = 0
        path = write_raster("a.tif", noise_rgb)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
            target.write_mask(mask)
    else:
        data = noise_rgb.astype(np.float32)
        data[hole] = np.nan
        path = write_raster("a.tif", data)
    _, chips = chips_of(one_scene(path, Reading(chip_size=64, scale=(0.0, 255.0))))
    assert chips.valid_fraction[0] == pytest.approx(0.5)
    assert (chips.pixels[0, 16:48] == 0).all() and (chips.pixels[0, 48:] > 0).all()


def test_nodata_in_one_band_alone_is_valid(write_raster, one_scene, noise_rgb):
    noise_rgb[2] = 0
    _, chips = chips_of(one_scene(write_raster("a.tif", noise_rgb, nodata=0)))
    assert (chips.valid_fraction == 1).all()


def test_sixteen_bit_data_is_stretched_by_percentiles_and_reported(write_raster, one_scene):
    data = np.random.default_rng(1).integers(300, 3000, (3, 100, 130)).astype(np.uint16)
    path = write_raster("a.tif", data)
    record, chips = chips_of(one_scene(path, Reading(chip_size=64)))
    expected = np.percentile(data.reshape(3, -1), [2, 98], axis=1).T
    np.testing.assert_allclose(record.properties["scale"], expected)
    assert chips.pixels.min() == 0 and chips.pixels.max() == 255
    _, fixed = chips_of(one_scene(path, Reading(chip_size=64, scale=(0.0, 25500.0))))
    assert np.array_equal(fixed.pixels[0, 0, 0], np.rint(data[:, 0, 0] / 100).astype(np.uint8))


def _write_scaled(write_raster, name, data, scales, offsets):
    path = write_raster(name, data)
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = scales, offsets
    return path


@pytest.mark.parametrize("scale", [(0.0, 3000.0), "auto", None])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_physical_values_count_and_not_stored_ones(scale, dtype, write_raster, one_scene):
    """Sentinel-2 stores reflectances with 1000 added since baseline 04.00."""
    data = np.random.default_rng(1).integers(0, 3500, (3, 100, 130)).astype(dtype)
    before = write_raster("before.tif", data)
    after = _write_scaled(write_raster, "after.tif", data + 1000, (1, 1, 1), (-1000,) * 3)
    reading = Reading(chip_size=64, scale=scale)
    plain, moved = chips_of(one_scene(before, reading)), chips_of(one_scene(after, reading))
    assert np.array_equal(plain[1].pixels, moved[1].pixels)
    assert moved[0].properties["gdal_scale_offset"] == [[1, -1000]] * 3
    raw = Reading(chip_size=64, scale=scale, raw_values=True)
    assert "gdal_scale_offset" not in one_scene(after, raw).describe().properties
    if scale == (0.0, 3000.0):
        assert not np.array_equal(chips_of(one_scene(after, raw))[1].pixels, plain[1].pixels)


def test_each_band_has_its_own_scale_and_a_query_is_read_alike(write_raster, one_scene, noise_rgb):
    linear = ((0.5, 2, -1), (0, 10, 255))
    path = _write_scaled(write_raster, "a.tif", noise_rgb, *linear)
    reading = Reading(chip_size=64, scale=(0.0, 255.0), bands=(3, 2, 1))
    record, chips = chips_of(one_scene(path, reading))
    expected = noise_rgb * np.array(linear[0])[:, None, None] + np.array(linear[1])[:, None, None]
    expected = np.rint(np.clip(expected, 0, 255)).astype(np.uint8)[::-1]
    assert np.array_equal(chips.pixels[0], np.moveaxis(expected[:, :64, :64], 0, -1))
    assert record.properties["gdal_scale_offset"] == [[-1, 255], [2, 10], [0.5, 0]]
    query = read_query(str(path), reading=reading, bands=3, window=(0, 0, 64, 64))
    assert np.array_equal(query.pixels, chips.pixels[:1])


def test_an_older_archive_reads_stored_values(write_raster, one_scene, noise_rgb):
    path = _write_scaled(write_raster, "a.tif", noise_rgb, (2, 2, 2), (5, 5, 5))
    stored = Reading(chip_size=64).to_json()
    del stored["raw_values"]
    _, chips = chips_of(one_scene(path, Reading.from_json(stored)))
    assert np.array_equal(chips.pixels[0], np.moveaxis(noise_rgb[:, :64, :64], 0, -1))


@pytest.mark.parametrize("scale", [0, float("nan"), float("inf")])
def test_an_invalid_scale_is_refused(scale, write_raster, one_scene, noise_rgb):
    path = _write_scaled(write_raster, "a.tif", noise_rgb, (1, scale, 1), (0, 0, 0))
    with pytest.raises(InputError, match=r"a\.tif has a band with scale") as refusal:
        one_scene(path).describe()
    assert "--raw-values" in refusal.value.hint
    assert one_scene(path, Reading(raw_values=True)).describe().width == 130


def test_bands_marked_red_green_and_blue_are_chosen_with_and_without_infrared(
    write_raster, one_scene, noise_rgb
):
    marks = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]
    pixels = []
    for count in (3, 4):
        path = write_raster(
            f"{count}.tif", np.concatenate([noise_rgb[::-1], noise_rgb[:1]])[:count]
        )
        with rasterio.open(path, "r+") as target:
            target.colorinterp = marks[:count]
        record, chips = chips_of(one_scene(path))
        assert record.bands == (3, 2, 1)
        pixels.append(chips.pixels)
    assert np.array_equal(*pixels)
    assert np.array_equal(pixels[0][0], np.moveaxis(noise_rgb[:, :64, :64], 0, -1))


def test_a_palette_becomes_colours(write_raster, one_scene, noise_rgb):
    path = write_raster("a.tif", noise_rgb[:1] % 2, photometric="palette")
    with rasterio.open(path, "r+") as target:
        target.write_colormap(1, {0: (200, 10, 20, 255), 1: (1, 2, 3, 255)})
    _, chips = chips_of(one_scene(path))
    colours = np.array([[200, 10, 20], [1, 2, 3]], np.uint8)
    assert np.array_equal(chips.pixels[0], colours[noise_rgb[0, :64, :64] % 2])


def test_the_wrong_number_of_bands(write_raster, one_scene, noise_rgb):
    path = write_raster("a.tif", noise_rgb[:1])
    with pytest.raises(InputError, match=r"a\.tif has 1 band, the model takes 3") as refusal:
        one_scene(path).describe()
    assert "--bands 1,1,1" in refusal.value.hint
    _, chips = chips_of(one_scene(path, Reading(chip_size=64, bands=(1, 1, 1))))
    assert (chips.pixels[..., 0] == chips.pixels[..., 2]).all()


def test_bands_are_read_in_the_requested_order(write_raster, one_scene, noise_rgb):
    path = write_raster("a.tif", noise_rgb)
    _, chips = chips_of(one_scene(path, Reading(chip_size=64, bands=(3, 1, 3))))
    assert np.array_equal(chips.pixels[0], np.moveaxis(noise_rgb[[2, 0, 2], :64, :64], 0, -1))


def test_a_raster_without_crs_is_refused_unless_allowed(write_raster, one_scene, noise_rgb):
    path = write_raster("a.tif", noise_rgb, crs=None)
    with pytest.raises(InputError, match="coordinate reference system") as refusal:
        one_scene(path).describe()
    assert "--no-georeference" in refusal.value.hint
    record, chips = chips_of(one_scene(path, georeference=False))
    assert chips.footprints is None and record.proj_code is None and record.resolution is None


def test_acquisition_time_from_options_tags_or_name(write_raster, one_scene, noise_rgb):
    tags = {"TIFFTAG_DATETIME": "2020:05:06 07:08:09"}
    path = write_raster("x_20210714.tif", noise_rgb, tags=tags)
    assert one_scene(path).describe().acquired.isoformat() == "2020-05-06T07:08:09+00:00"
    named = one_scene(path, date_pattern="%Y%m%d").describe()
    assert named.acquired.isoformat() == "2021-07-14T00:00:00+00:00"
    plain = write_raster("y_20210714T101112.tif", noise_rgb)
    assert one_scene(plain).describe().acquired.isoformat() == "2021-07-14T10:11:12+00:00"


def test_the_error_of_a_damaged_block_names_the_file(write_raster, one_scene, noise_rgb, capfd):
    data = np.tile(noise_rgb, (1, 6, 6))
    path = write_raster(
        "a.tif", data, tiled=True, blockxsize=128, blockysize=128, compress="deflate"
    )
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = b"\xff" * 4000
    path.write_bytes(content)
    scene = one_scene(path)
    record = scene.describe()
    assert scene.read(record.windows[:1]).pixels.any()
    with pytest.raises(InputError, match=r"a\.tif cannot be read"):
        scene.read(record.windows)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("content", "message"), [(b"", "empty"), (b"hello", "not an image")])
def test_files_that_are_not_images_are_refused(content, message, tmp_path, one_scene, capfd):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as refusal:
        one_scene(path).describe()
    assert str(path) in refusal.value.message
    assert capfd.readouterr() == ("", "")


def test_threads_read_the_same_pixels_and_close_closes_files(write_raster, one_scene, noise_rgb):
    scene = one_scene(write_raster("a.tif", noise_rgb), Reading(chip_size=16))
    record, chips = chips_of(scene)
    same = []
    threads = [
        threading.Thread(
            target=lambda: same.append(
                np.array_equal(scene.read(record.windows).pixels, chips.pixels)
            )
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 6
    scene.close()
    assert np.array_equal(scene.read(record.windows).pixels, chips.pixels)


def test_many_scenes_stay_below_the_limit_on_open_files(write_raster, one_scene, noise_rgb):
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("counts open files in /proc")
    scenes = [one_scene(write_raster(f"{i}.tif", noise_rgb)) for i in range(3 * OPEN_PER_THREAD)]
    before = len(list(folder.iterdir()))
    records = [scene.describe() for scene in scenes]
    assert len(list(folder.iterdir())) <= before + OPEN_PER_THREAD
    assert scenes[0].read(records[0].windows).pixels.any()
    for scene in scenes:
        scene.close()
    assert len(list(folder.iterdir())) <= before


def test_chips_can_be_selected(write_raster, one_scene, noise_rgb):
    _, chips = chips_of(one_scene(write_raster("a.tif", noise_rgb)))
    odd = chips.select(np.arange(6) % 2 == 1)
    assert np.array_equal(odd.windows, chips.windows[1::2])
    assert odd.footprints == chips.footprints[1::2] and len(odd.pixels) == 3


def test_identity_is_the_content_of_a_georeferenced_file(write_raster, one_scene, noise_rgb):
    first = write_raster("a.tif", noise_rgb)
    copy = first.with_name("b.tif")
    copy.write_bytes(first.read_bytes())
    assert one_scene(first).describe().content_hash == one_scene(copy).describe().content_hash
    bare = write_raster("c.tif", noise_rgb, crs=None)
    twin = bare.with_name("d.tif")
    twin.write_bytes(bare.read_bytes())
    hashes = {one_scene(p, georeference=False).describe().content_hash for p in (bare, twin)}
    assert len(hashes) == 2


def test_a_gdal_name_is_read_and_identified(write_raster, one_scene, noise_rgb):
    path = write_raster("a.tif", noise_rgb)
    record, chips = chips_of(one_scene(f"/vsisubfile/0,{path}"))
    assert np.array_equal(chips.pixels[0], np.moveaxis(noise_rgb[:, :64, :64], 0, -1))
    assert len(record.content_hash) == 64

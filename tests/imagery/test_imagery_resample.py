"""Resampling against brute force, and chips of other resolutions and sizes."""

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from shapely.geometry import shape

from dcsh_pg.errors import InputError, UsageError
from dcsh_pg.imagery import resample as module
from dcsh_pg.imagery.query import read_query
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.resample import Raster, resample
from dcsh_pg.pixel_types import are_valid


def overlap(edges, length):
    """Length of each pixel's part between neighbouring edges: (cells, pixels)."""
    starts, ends, pixels = edges[:-1, None], edges[1:, None], np.arange(length)
    return np.clip(np.minimum(ends, pixels + 1) - np.maximum(starts, pixels), 0, None)


def brute(data, valid, window, size):
    """Means and valid shares by the area of each pixel under each cell."""
    left, top, width, height = window
    across = overlap(left + np.arange(size[1] + 1) * width / size[1], data.shape[1])
    down = overlap(top + np.arange(size[0] + 1) * height / size[0], data.shape[0])
    area = np.einsum("rh,cw,hw->rc", down, across, valid.astype(float))
    sums = np.einsum("rh,cw,hwb->rcb", down, across, data * valid[..., None])
    ground = width / size[1] * height / size[0]
    return sums / np.where(area > 0, area, 1)[..., None], area / ground


@pytest.mark.parametrize("seed", range(60))
def test_means_are_those_of_brute_force(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(module, "STRIP_VALUES", int(rng.choice([1, 50, 1 << 20])))
    height, width = rng.integers(1, 30, 2)
    data, valid = rng.normal(size=(height, width, 2)), rng.random((height, width)) < 0.7
    scale, offset = rng.choice([1, 0.5, 1 / 6, 2]), rng.choice([0, 0.25, -3])
    window = rng.integers([-10, -10, 1, 1], [20, 20, 30, 30]).astype(float)
    if seed % 2:
        window += rng.random(4)
    raster = Raster(
        width,
        height,
        lambda left, top, w, h, by: (data[top : top + h, left : left + w],
                                     valid[top : top + h, left : left + w]),
        columns=(scale, offset), rows=(scale, -offset),
    )  # fmt: skip
    size = tuple(rng.integers(1, 12, 2).tolist())
    means, share = resample(raster, window, size)
    moved = window * scale + (offset, -offset, 0, 0)
    expected, expected_share = brute(data, valid, moved, size)
    np.testing.assert_allclose(share, expected_share, atol=1e-9)
    if means.shape[2]:
        np.testing.assert_allclose(means, expected, atol=1e-9)


@pytest.mark.parametrize("dtype", ["uint16", "float32", "uint8"])
@pytest.mark.parametrize("metres", [0.5, 2, 2.5, 4])
def test_chips_come_at_the_resolution_and_footprints_stay_exact(
    dtype, metres, write_raster, one_scene
):
    rng = np.random.default_rng(1)
    data = rng.integers(1, 250, (2, 100, 130)).astype(dtype)
    data[:, 10:30, 10:50] = 0
    path = write_raster("a.tif", data, nodata=0)
    reading = Reading(chip_size=16, dtype=dtype, resolution=metres, min_valid=0)
    scene = one_scene(path, reading, bands=2)
    record = scene.describe()
    side = round(16 * metres)
    assert (record.windows[:, 2:] == side).all() and (record.width, record.height) == (130, 100)
    chips = scene.read(record.windows)
    assert chips.pixels.shape[1:] == (16, 16, 2) and chips.pixels.dtype == dtype
    source, valid = np.moveaxis(data, 0, -1).astype(float), (data != 0).any(axis=0)
    for pixels, window, fraction in zip(
        chips.pixels, chips.windows.tolist(), chips.valid_fraction, strict=True
    ):
        means, share = brute(source, valid, window, (16, 16))
        expected = means if dtype == "float32" else np.rint(means)
        seen = share > 1e-9
        found = np.where(seen[..., None], pixels.astype(float), 0)
        np.testing.assert_allclose(found, np.where(seen[..., None], expected, 0), atol=1e-5)
        assert fraction == pytest.approx(share.mean(), abs=1e-5)
        if dtype != "uint8":
            assert np.array_equal(are_valid(pixels), seen)
    whole = one_scene(path, Reading(chip_size=side, dtype=dtype), bands=2)
    plain = whole.read(record.windows)
    assert all(a.equals(b) for a, b in zip(chips.footprints, plain.footprints, strict=True))


def test_a_scene_of_nearly_the_resolution_keeps_its_pixels(write_raster, one_scene, noise_rgb):
    path = write_raster("a.tif", noise_rgb)
    plain = one_scene(path, Reading(chip_size=64))
    brought = one_scene(path, Reading(chip_size=64, resolution=1.008))
    windows = plain.describe().windows
    assert np.array_equal(windows, brought.describe().windows)
    assert np.array_equal(plain.read(windows).pixels, brought.read(windows).pixels)


def test_overviews_are_read_where_there_are(write_raster, one_scene):
    data = np.random.default_rng(0).integers(1, 250, (1, 512, 512)).astype(np.uint16)
    path = write_raster("a.tif", data, tiled=True, blockxsize=256, blockysize=256)
    reading = Reading(chip_size=32, dtype="uint16", resolution=8)
    full = one_scene(path, reading, bands=1).read(np.array([[0, 0, 256, 256]])).pixels
    with rasterio.open(path, "r+") as target:
        target.build_overviews([2, 4], Resampling.average)
    of_overview = one_scene(path, reading, bands=1).read(np.array([[0, 0, 256, 256]])).pixels
    assert np.abs(full.astype(int) - of_overview).max() <= 1
    with rasterio.open(path, "r+") as target:
        target.write(np.full_like(data, 7))  # its overviews stay as they are
    again = one_scene(path, reading, bands=1).read(np.array([[0, 0, 256, 256]])).pixels
    assert np.array_equal(again, of_overview)


def test_chips_of_several_sizes_have_the_pixels_of_the_model(write_raster, one_scene, noise_rgb):
    path = write_raster("a.tif", noise_rgb)
    scene = one_scene(path, Reading(chip_size=16, multiscale=(1, 2, 4), edge="drop"))
    record = scene.describe()
    windows = record.windows
    sizes = [16] * 8 * 6 + [32] * 4 * 3 + [64] * 2 * 1
    assert windows[:, 2].tolist() == windows[:, 3].tolist() == sizes
    assert np.array_equal(windows[[0, 50, -1]], np.array([windows[0], windows[50], windows[-1]]))
    chips = scene.read(windows)
    assert chips.pixels.shape == (len(sizes), 16, 16, 3)
    plain = one_scene(path, Reading(chip_size=16, edge="drop"))
    assert np.array_equal(chips.pixels[:48], plain.read(windows[:48]).pixels)
    image = np.moveaxis(noise_rgb, 0, -1).astype(float)
    for pixels, window in zip(chips.pixels, windows.tolist(), strict=True):
        means, _ = brute(image, np.ones(image.shape[:2], bool), window, (16, 16))
        assert np.array_equal(pixels, np.rint(means))
    with pytest.raises(IndexError):
        windows[len(windows)]


def test_a_query_with_a_place_is_brought_to_the_resolution(write_raster, noise_rgb, tmp_path):
    path = write_raster("a.tif", noise_rgb)
    reading = Reading(chip_size=16, resolution=2)
    query = read_query(str(path), reading=reading, bands=3, window=(10, 20, 40, 30))
    assert query.pixels.shape == (1, 15, 20, 3) and query.resolution == 2
    Image.fromarray(np.moveaxis(noise_rgb, 0, -1)).save(tmp_path / "unplaced.png")
    unplaced = read_query(str(tmp_path / "unplaced.png"), reading=reading, bands=3)
    assert unplaced.pixels.shape == (1, 100, 130, 3) and unplaced.resolution is None


def test_a_placed_picture_is_resampled_and_an_unplaced_one_refused(tmp_path, one_scene, noise_rgb):
    from dcsh_pg.imagery.sources.files import find_scenes

    Image.fromarray(np.moveaxis(noise_rgb, 0, -1)).save(tmp_path / "a.png")
    reading = Reading(chip_size=16, resolution=2)
    with pytest.raises(InputError, match="no ground resolution"):
        one_scene(tmp_path / "a.png", reading).describe()
    sidecar = tmp_path / "s.csv"
    sidecar.write_text("file,lon,lat,resolution\na.png,10,0,1\n")
    (scene,) = find_scenes([str(tmp_path / "a.png")], reading=reading, bands=3, sidecar=sidecar)
    record = scene.describe()
    assert (record.windows[:, 2] == 32).all()
    chips = scene.read(record.windows)
    image = np.moveaxis(noise_rgb, 0, -1).astype(float)
    means, _ = brute(image, np.ones(image.shape[:2], bool), record.windows[0].tolist(), (16, 16))
    assert np.array_equal(chips.pixels[0], np.rint(means))
    assert shape(chips.footprints[0]).is_valid


def test_scenes_of_two_resolutions_share_a_grid_on_the_ground(write_raster, one_scene):
    data = np.random.default_rng(0).integers(1, 255, (3, 128, 128), dtype=np.uint8)
    fine = write_raster("fine.tif", data.repeat(2, axis=1).repeat(2, axis=2),
                        transform=from_origin(500_000, 5_300_000, 1, 1))  # fmt: skip
    coarse = write_raster("coarse.tif", data, transform=from_origin(500_000, 5_300_000, 2, 2))
    reading = Reading(chip_size=16, resolution=4, anchor=True, edge="drop")
    made = []
    for path in (fine, coarse):
        scene = one_scene(path, reading)
        made.append(scene.read(scene.describe().windows))
    assert np.array_equal(made[0].pixels, made[1].pixels)
    assert all(a.equals_exact(b, 1e-9) for a, b in zip(*(m.footprints for m in made), strict=True))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"resolution": 0}, "--resolution 0"),
        ({"resolution": float("nan")}, "--resolution nan"),
        ({"multiscale": (1, 2)}, "--multiscale without --chip-size"),
        ({"chip_size": 16, "multiscale": (2, 2)}, "--multiscale 2,2"),
        ({"chip_size": 16, "multiscale": (0,)}, "--multiscale 0"),
    ],
)
def test_senseless_values_are_refused(fields, reason):
    with pytest.raises(UsageError, match=reason):
        Reading(**fields)


def test_a_resolution_far_from_the_scenes_is_refused(write_raster, one_scene, noise_rgb):
    path = write_raster("a.tif", noise_rgb)
    with pytest.raises(InputError, match="too far from 5000 m"):
        one_scene(path, Reading(chip_size=16, resolution=5000)).describe()

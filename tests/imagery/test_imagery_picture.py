import numpy as np
import pytest
from PIL import Image

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.reading import Reading

WHOLE = Reading()


@pytest.fixture
def picture(noise_rgb):
    return Image.fromarray(np.moveaxis(noise_rgb, 0, -1))


def read_whole(scene):
    record = scene.describe()
    return record, scene.read(record.windows)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "gif", "jpg"])
def test_a_picture_is_one_chip(suffix, tmp_path, one_scene, picture):
    options = {"lossless": True} if suffix == "webp" else {}
    picture.save(tmp_path / f"a.{suffix}", **options)
    record, chips = read_whole(one_scene(tmp_path / f"a.{suffix}", WHOLE))
    assert record.windows.tolist() == [[0, 0, 130, 100]]
    assert chips.pixels.shape == (1, 100, 130, 3) and chips.footprints is None
    if suffix in ("png", "bmp", "webp"):
        assert np.array_equal(chips.pixels[0], np.asarray(picture))


def test_pictures_are_cut_into_chips(tmp_path, one_scene, picture):
    picture.save(tmp_path / "a.png")
    scene = one_scene(tmp_path / "a.png", Reading(chip_size=64, edge="pad"))
    _, chips = read_whole(scene)
    assert chips.pixels.shape == (6, 64, 64, 3)
    assert chips.valid_fraction[-1] == pytest.approx(36 * 2 / 64**2)
    scene.close()


def test_exif_orientation_and_date_are_applied(tmp_path, one_scene, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9003] = "2019:01:02 03:04:05"
    exif.get_ifd(0x8769)[0x9011] = "+02:00"
    picture.save(tmp_path / "a.png", exif=exif)
    record, chips = read_whole(one_scene(tmp_path / "a.png", WHOLE))
    assert (record.width, record.height) == (100, 130)
    assert np.array_equal(chips.pixels[0], np.rot90(np.asarray(picture), -1))
    assert record.acquired.isoformat() == "2019-01-02T01:04:05+00:00"


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "I;16", "LA"])
def test_every_mode_gives_three_channels(mode, tmp_path, one_scene, picture, noise_rgb):
    if mode == "I;16":
        converted = Image.fromarray(noise_rgb[0].astype(np.uint16) * 200)
    else:
        converted = picture.convert(mode)
    name = "a.tiff" if mode == "CMYK" else "a.png"
    name = "a.jpg" if mode == "CMYK" else name
    converted.save(tmp_path / name)
    _, chips = read_whole(one_scene(tmp_path / name, WHOLE))
    assert chips.pixels.shape == (1, 100, 130, 3) and chips.pixels.any()
    if mode == "L":
        assert np.array_equal(chips.pixels[0, ..., 1], np.asarray(converted))


def test_transparent_pixels_are_invalid(tmp_path, one_scene, picture):
    alpha = np.full((100, 130), 255, np.uint8)
    alpha[:50] = 0
    picture.putalpha(Image.fromarray(alpha))
    picture.save(tmp_path / "a.png")
    _, chips = read_whole(one_scene(tmp_path / "a.png", WHOLE))
    assert chips.valid_fraction[0] == pytest.approx(0.5)
    assert not chips.pixels[0, :50].any()


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "empty"), (b"hello", "not a readable picture")]
)
def test_files_that_are_not_pictures_are_refused(content, message, tmp_path, one_scene):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.png is {message}"):
        one_scene(tmp_path / "a.png", WHOLE).describe()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp"])
def test_a_truncated_picture_names_itself(suffix, tmp_path, one_scene, picture):
    path = tmp_path / f"a.{suffix}"
    picture.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"a\.{suffix}"):
        read_whole(one_scene(path, WHOLE))


def test_identical_pictures_with_different_names_are_two_scenes(tmp_path, one_scene, picture):
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.png")
    hashes = {one_scene(tmp_path / n, WHOLE).describe().content_hash for n in ("a.png", "b.png")}
    assert len(hashes) == 2

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcsh_pg.errors import InputError, UsageError
from dcsh_pg.imagery import SceneOptions
from dcsh_pg.imagery.pixels.picture import PictureScene
from dcsh_pg.imagery.pixels.raster import RasterScene
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import are_plain_pictures, find_scenes


def names(sources, **options):
    options = {"reading": Reading(chip_size=64), "bands": 3} | options
    return [Path(scene.uri).name for scene in find_scenes([str(s) for s in sources], **options)]


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for name in ("b/a10.png", "b/A2.png", "b/a1.jpg", "a/z.webp", "root.bmp", ".hidden/x.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9, 3), 5, np.uint8)).save(folder / name)
    for name in ("b/a1.jpg.aux.xml", "notes.txt", ".x.png", "b/a.tif.ovr", "b/a.tfw"):
        (folder / name).write_text("")
    return folder


def test_folders_are_searched_in_natural_order(pictures):
    assert names([pictures]) == ["z.webp", "a1.jpg", "A2.png", "a10.png", "root.bmp"]


def test_sources_keep_their_order_without_duplicates(pictures):
    assert names([pictures / "root.bmp", pictures / "b" / "*", pictures]) == [
        "root.bmp", "a1.jpg", "A2.png", "a10.png", "z.webp",
    ]  # fmt: skip


def test_the_sub_folder_is_the_class(pictures):
    scenes = find_scenes([str(pictures)], reading=Reading(), bands=3)
    classes = [scene.describe().properties.get("class") for scene in scenes]
    assert classes == ["a", "b", "b", "b", None]


def test_finding_scenes_opens_no_file(tmp_path):
    (tmp_path / "broken.tif").write_text("no raster")
    assert names([tmp_path]) == ["broken.tif"]


def test_pictures_and_rasters_are_distinguished(pictures, write_raster, noise_rgb):
    raster = write_raster("r.tif", noise_rgb)
    world = pictures / "b" / "a1.jgw"
    assert isinstance(find_scenes([str(raster)], reading=Reading(), bands=3)[0], RasterScene)
    picture = str(pictures / "b" / "a1.jpg")
    assert isinstance(find_scenes([picture], reading=Reading(), bands=3)[0], PictureScene)
    world.write_text("1\n0\n0\n-1\n0\n0\n")
    assert isinstance(find_scenes([picture], reading=Reading(), bands=3)[0], RasterScene)
    world.unlink()
    assert are_plain_pictures([str(pictures)])
    assert not are_plain_pictures([str(pictures), str(raster)])
    assert are_plain_pictures([str(write_raster("bare.tif", noise_rgb, crs=None))])


def test_missing_sources(tmp_path):
    with pytest.raises(InputError, match=r"no such file or folder: .*nowhere"):
        names([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="no file matches"):
        names([tmp_path / "*.tif"])


@pytest.mark.parametrize("source", ["a" * 300, "~no_such_user/x.tif"])
def test_impossible_file_names_are_refused(source):
    with pytest.raises(InputError, match="cannot be read"):
        names([source])


def test_the_error_for_a_folder_without_images_lists_its_files(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.txt").write_text("x")
    with pytest.raises(InputError, match=r"it contains 2 \.txt") as refusal:
        names([tmp_path])
    assert "tif" in refusal.value.hint and "jpg" in refusal.value.hint


def test_as_many_bands_as_the_model_takes(pictures):
    with pytest.raises(UsageError, match="the model takes 3 bands"):
        names([pictures], reading=Reading(bands=(1, 2)))


def test_a_given_acquisition_time_applies_to_all_scenes(pictures):
    scenes = find_scenes(
        [str(pictures)],
        reading=Reading(),
        bands=3,
        options=SceneOptions(acquired=datetime(2020, 1, 2)),
    )
    assert {scene.describe().acquired for scene in scenes} == {
        datetime(2020, 1, 2, tzinfo=timezone.utc)
    }

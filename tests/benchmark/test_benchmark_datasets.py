import labelled
import numpy as np
import pytest
from PIL import Image

from dcsh_pg.benchmark.datasets import KNOWN, database_share, find, load
from dcsh_pg.errors import InputError


def test_a_folder_of_class_folders(tmp_path):
    folder = labelled.write_folder(tmp_path / "tiny", classes=3, each=4)
    found = load(str(folder))
    assert (found.name, found.title, found.classes) == ("tiny", "tiny", 3)
    assert found.labels == labelled.labels(3, 4)
    assert np.array_equal(found.images, labelled.pictures(3, 4))


@pytest.mark.parametrize(
    ("name", "place", "share"),
    [("ucmd", "UCMerced_LandUse/Images", 0.8), ("ucmd", "ucmd", 0.8), ("aid", "AID", 0.5)],
)
def test_known_data_sets_are_found_as_they_are_unpacked(tmp_path, name, place, share):
    folder = labelled.write_folder(tmp_path / place, classes=2, each=3)
    assert find(name, tmp_path) == (name, folder)
    found = load(name, tmp_path)
    assert (found.name, found.title) == (name, KNOWN[name].title)
    assert len(found.images) == 6
    assert database_share(name) == database_share(str(tmp_path / name)) == share


def test_other_folders_have_four_fifths_in_the_database(tmp_path):
    assert database_share(str(tmp_path)) == 0.8


def test_pictures_of_another_size_are_brought_to_the_median(tmp_path):
    folder = labelled.write_folder(tmp_path / "tiny", classes=2, each=3)
    Image.new("RGB", (30, 20)).save(folder / "beach" / "odd.png")
    assert load(str(folder)).images.shape == (7, 24, 24, 3)


@pytest.mark.parametrize("name", KNOWN)
def test_a_data_set_that_is_not_there_is_reported_with_its_link(tmp_path, name):
    with pytest.raises(InputError, match=KNOWN[name].title) as reported:
        load(name, tmp_path)
    assert KNOWN[name].link in reported.value.hint and "--data" in reported.value.hint


def test_no_such_folder(tmp_path):
    with pytest.raises(InputError, match="no such data set") as reported:
        load(str(tmp_path / "absent"))
    assert "--dataset" in reported.value.hint


def test_pictures_in_no_class_folder_are_named(tmp_path):
    folder = labelled.write_folder(tmp_path / "tiny", classes=2, each=3)
    Image.new("RGB", (24, 24)).save(folder / "stray.png")
    with pytest.raises(InputError, match=r"stray\.png is not in a class folder"):
        load(str(folder))


def test_a_broken_picture_is_named(tmp_path):
    folder = labelled.write_folder(tmp_path / "tiny", classes=2, each=3)
    (folder / "beach" / "broken.png").write_bytes(b"garbage")
    with pytest.raises(InputError, match=r"broken\.png"):
        load(str(folder))

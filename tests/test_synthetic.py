import json
from collections import Counter

import numpy as np
import pytest
import rasterio
from shapely.geometry import shape

from dcsh_pg.errors import OutputError
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import find_scenes
from dcsh_pg.synthetic.archive import DATES, make_archive
from dcsh_pg.synthetic.landcover import PAINTERS


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("synthetic"), locations=1)


def test_scenes_are_georeferenced_and_dated(archive):
    scenes = find_scenes([str(archive.labels.parent)], reading=Reading(chip_size=128), bands=3)
    records = [scene.describe() for scene in scenes]
    assert [record.acquired for record in records] == list(DATES)
    assert {record.proj_code for record in records} == {"EPSG:32630"}
    assert records[0].resolution == pytest.approx(0.6, rel=2e-3)
    assert [len(record.windows) for record in records] == [36, 36]


def test_labels_lie_on_the_chips(archive):
    features = json.loads(archive.labels.read_text())["features"]
    (scene, _) = find_scenes(
        [str(path) for path in archive.scenes], reading=Reading(chip_size=128), bands=3
    )
    chips = scene.read(scene.describe().windows)
    for feature, window, footprint in zip(features, chips.windows, chips.footprints, strict=False):
        properties = feature["properties"]
        assert properties["file"] == archive.scenes[0].name
        assert [properties[k] for k in ("col_off", "row_off", "width", "height")] == window.tolist()
        assert shape(feature["geometry"]).equals_exact(footprint, 1e-9)
        assert properties["class"] in PAINTERS and properties["share"] > 0.25


def test_a_field_is_built_over_between_the_dates(archive):
    features = json.loads(archive.labels.read_text())["features"]
    before, after = (
        Counter(f["properties"]["class"] for f in features if f["properties"]["file"] == path.name)
        for path in archive.scenes
    )
    assert before["farmland"] > 0 and after["farmland"] == 0


def test_chips_have_one_land_cover_or_several(archive):
    features = json.loads(archive.labels.read_text())["features"]
    shares = [feature["properties"]["share"] for feature in features]
    assert max(shares) == 1 and min(shares) < 0.6


def test_the_same_seed_gives_the_same_pixels(archive, tmp_path):
    again = make_archive(tmp_path, locations=1)
    other = make_archive(tmp_path / "other", locations=1, seed=1)
    pixels = [rasterio.open(a.scenes[0]).read() for a in (archive, again, other)]
    assert np.array_equal(pixels[0], pixels[1])
    assert not np.array_equal(pixels[0], pixels[2])


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write to"):
        make_archive(tmp_path / "file", locations=1)

"""STAC items and sidecars that mean harm: each is one scene that fails, and the others are read."""

from __future__ import annotations

import json
import os
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from stac_items import make_item, write_items

from dcsh_pg.errors import InputError, storable
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import SceneRecord
from dcsh_pg.imagery.sources.files import find_scenes
from dcsh_pg.imagery.sources.listed import Listed, listed_scenes
from dcsh_pg.imagery.sources.stac import stac_listing
from dcsh_pg.imagery.sources.stac_items import MAX_NESTED, find_items

DEEP = "[" * 100_000 + "]" * 100_000
HOSTILE = {
    "a NUL": r'"a\u0000b"',
    "a lone surrogate": r'"\ud800"',
    "an integer of 5,000 digits": "9" * 5000,
    "1e999": "1e999",
    "deep nesting": DEEP,
}


def hostile_item(number, field, value):
    """An item whose ``field`` is the JSON text ``value``."""
    item = make_item(1) | {"id": f"hostile-{number}"}
    if field == "id":
        item["id"] = "@@"
    else:
        item["properties"][field] = "@@"
    item["assets"]["image"]["href"] = "item-1.tif"
    return json.dumps(item).replace('"@@"', value)


def outcomes(source):
    """Whether each scene of a listing can be described; None where it can."""
    found = []
    listing = listed_scenes(stac_listing(str(source)), reading=Reading(chip_size=64), bands=3)
    for scene in listing:
        assert storable(scene.uri) == scene.uri and len(scene.uri) < 2500
        try:
            scene.describe()
            found.append(None)
        except InputError as error:
            assert storable(error.message) == error.message
            found.append(error.message)
    return found


@pytest.mark.parametrize("kind", ["collection", "lines", "folder"])
@pytest.mark.parametrize("field", ["id", "gsd"])
def test_a_hostile_item_fails_alone(tmp_path, kind, field):
    good = write_items(tmp_path / "items.ndjson", [make_item(0), make_item(2)])
    first, last = good.read_text().splitlines()
    items = [first, *(hostile_item(n, field, v) for n, v in enumerate(HOSTILE.values())), last]
    good.unlink()
    if kind == "collection":
        source = tmp_path / "items.json"
        source.write_text(f'{{"type": "FeatureCollection", "features": [{",".join(items)}]}}')
    elif kind == "lines":
        source = tmp_path / "all.ndjson"
        source.write_text("\n".join(items))
    else:
        source = tmp_path
        for number, item in enumerate(items):
            (source / f"{number}.json").write_text(item)
    found = outcomes(source)
    assert (found[0], found[-1]) == (None, None) and len(found) == 2 + len(HOSTILE)
    assert all(found[1:-1])


@pytest.mark.parametrize("value", [0, 5, 1.5, False, ["a"], {}])
def test_an_item_whose_collection_is_no_text_fails_alone(tmp_path, value):
    items = [make_item(0), make_item(1) | {"collection": value}, make_item(2)]
    found = outcomes(write_items(tmp_path / "items.ndjson", items))
    assert (found[0], found[2]) == (None, None) and found[1]


def test_an_address_too_long_for_an_index_fails_under_a_shortened_one():
    long = "".join(f"{number:x}" for number in range(2000))
    listed = [Listed("a#1", f"https://127.0.0.1:9/{long}"), Listed("b#2", "caf\udce9.tif")]
    for scene in listed_scenes(listed, reading=Reading(chip_size=64), bands=3):
        with pytest.raises(InputError, match=r"bytes, more than 2,000|not UTF-8"):
            scene.describe()
    path = "/".join(["x" * 250] * 12)
    (scene,) = listed_scenes([Listed(path, error=InputError(path))], reading=Reading(), bands=3)
    assert len(scene.uri) < 600


def test_special_files_in_a_folder_of_items_are_not_opened(tmp_path):
    write_items(tmp_path / "items.ndjson", [make_item(0)])
    os.mkfifo(tmp_path / "x.json")
    (tmp_path / "zero.geojson").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    found = outcomes(tmp_path)
    assert found[0] is None and "named pipe" in found[1] and "a device" in found[2]


def catalogue(path, *children):
    links = [{"rel": "child", "href": str(child)} for child in children]
    fields = {"type": "Catalog", "id": path.stem, "stac_version": "1.0.0", "description": "x"}
    path.write_text(json.dumps(fields | {"links": links}))
    return path


def test_catalogue_links_open_no_pipes_and_no_other_schemes(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    root = catalogue(
        tmp_path / "root.json", "pipe.json", f"file://{tmp_path}/pipe.json", "/dev/zero",
        "ftp://127.0.0.1:9/x.json", "FILE:///etc/hostname",
    )  # fmt: skip
    found = [found.error.message for found in find_items(str(root))]
    assert len(found) == 5 and "only http and https" in found[3]


def test_a_chain_of_catalogues_ends(tmp_path):
    paths = [tmp_path / f"{number}.json" for number in range(300)]
    for path, child in pairwise(paths):
        catalogue(path, child)
    (failure,) = find_items(str(paths[0]))
    assert f"nested more than {MAX_NESTED} deep" in failure.error.message


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(folder / f"{name}.png")
    return folder


ROWS = [
    "b.png,NaN 0 1 1,2021-07-14,x",
    "b.png,0 0 inf 1,2021-07-14,x",
    "b.png,0 0 1 1,soon,x",
    "b.png,0 0 1 1,2021-07-14,a\0b",
    f"b.png,0 0 {'9' * 5000} 1,2021-07-14,x",
    "b.png,0,0,1,1,2021-07-14,x",
]


@pytest.mark.parametrize("row", ROWS)
def test_a_bad_row_of_a_sidecar_fails_its_file_only(pictures, row):
    sidecar = pictures.parent / "side.csv"
    sidecar.write_text(
        "file,bbox,date,x\n"
        f"a.png,0 0 1 1,2021-07-14,x\n{row}\n,0 0 1 1,2021-07-14,nameless\nc.png,0 0 1 1,,x\n"
    )
    check_sidecar(pictures, sidecar, "line 4: no file name")


@pytest.mark.parametrize("value", HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("place", ["properties", "geometry"])
def test_a_bad_feature_of_a_sidecar_fails_its_file_only(pictures, value, place):
    box = [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]
    features = [
        {
            "type": "Feature",
            "properties": {"file": name},
            "geometry": {"type": "Polygon", "coordinates": box},
        }
        for name in ("a.png", "b.png", "c.png")
    ]
    if place == "properties":
        features[1]["properties"]["x"] = "@@"
    else:
        features[1]["geometry"]["coordinates"] = "@@"
    text = json.dumps({"type": "FeatureCollection", "features": [*features, 5]})
    sidecar = pictures.parent / "side.geojson"
    sidecar.write_text(text.replace('"@@"', value))
    check_sidecar(pictures, sidecar, "feature 4: no file name")


def check_sidecar(pictures, sidecar, nameless):
    scenes = find_scenes([str(pictures)], reading=Reading(), bands=3, sidecar=sidecar)
    found = {}
    for scene in scenes:
        try:
            found[scene.uri.rpartition("/")[2]] = scene.describe().properties.get("driver")
        except InputError as error:
            found[scene.uri.rpartition("/")[2]] = error.message
    assert found["a.png"] == found["c.png"] == "PNG"
    assert sidecar.name in found["b.png"]
    assert any(nameless in message for message in found.values())


def test_deeply_nested_wkt_in_a_sidecar_fails_only_its_file(pictures):
    sidecar = pictures.parent / "side.csv"
    deep = "GEOMETRYCOLLECTION(" * 5_000
    sidecar.write_text(f"file,wkt\na.png,{deep}\nb.png,\n")
    scenes = find_scenes([str(pictures)], reading=Reading(), bands=3, sidecar=sidecar)
    with pytest.raises(InputError, match="nested more than"):
        scenes[0].describe()
    sidecar.write_text(f"file,wkt\na.png,{deep * 4}\n")
    with pytest.raises(InputError, match="field larger than field limit"):
        find_scenes([str(pictures)], reading=Reading(), bands=3, sidecar=sidecar)


def test_a_record_that_the_database_cannot_store_is_refused():
    how = {"content_hash": "0" * 64, "width": 1, "height": 1, "windows": np.zeros((0, 4))}
    for bad in ({"properties": {"scale": [float("nan")]}}, {"item_id": "\0"}, {"uri": "\udce9"}):
        with pytest.raises(InputError, match="its properties contain"):
            SceneRecord(**({"uri": "a.tif"} | how | bad))

"""STAC items as scenes: which asset is read, from where, and what the item reports of it."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import numpy as np
import pytest
from PIL import Image
from shapely.geometry import shape
from stac_items import SIDE, add_raster, make_item, make_naip, scenes_of, write_items, written

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.sources.stac import stac_listing

# -- which asset ---------------------------------------------------------------------------------


def asset(*roles, type="image/tiff", href="a.tif"):
    return {"href": href, "type": type, "roles": list(roles)}


@pytest.mark.parametrize(
    ("assets", "chosen"),
    [
        ({"x": asset("data", href="x"), "visual": asset("visual")}, "x"),
        ({"visual": asset("data", href="x"), "B02": asset("data")}, "x"),
        ({"visual": asset(href="x"), "thumb": asset("thumbnail")}, "x"),
        ({"x": asset("data", href="x"), "m": asset("data", type="application/xml")}, "x"),
        ({"x": asset(type=None, href="x")}, "x"),
        ({"B02": asset("data"), "B03": asset("data")}, None),
        ({"a": asset(), "b": asset()}, None),
        ({}, None),
    ],
)
def test_the_default_asset_is_chosen(tmp_path, assets, chosen):
    file = written(tmp_path / "item.json", make_item(0) | {"assets": assets})
    [entry] = stac_listing(str(file))
    if chosen:
        assert entry.uri == str(tmp_path / chosen)
    else:
        assert "has no asset to read by default" in entry.error.message
        assert all(name in entry.error.hint for name in assets)


def test_an_asset_by_name(tmp_path):
    items = write_items(tmp_path / "items.ndjson", [make_item(n) for n in range(3)])
    assert len(scenes_of(items, asset="image")) == 3
    with pytest.raises(InputError, match="has no asset 'visual'") as refusal:
        scenes_of(items, asset="visual")[0].describe()
    assert refusal.value.hint == "its assets are image (data)"


@pytest.mark.parametrize(
    ("href", "absolute"),
    [
        ("./a/../b.tif", "{folder}/b.tif"),
        ("/data/b.tif", "/data/b.tif"),
        ("file:///data/a%20b.tif", "/data/a b.tif"),
        ("https://example.org/b.tif?x=1", "https://example.org/b.tif?x=1"),
        ("/vsizip/x.zip/b.tif", "/vsizip/x.zip/b.tif"),
    ],
)
def test_hrefs_are_relative_to_the_item_file(tmp_path, href, absolute):
    item = make_item(0)
    item["assets"]["image"]["href"] = href
    [entry] = stac_listing(str(written(tmp_path / "item.json", item)))
    assert entry.uri == absolute.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("own", "absolute"),
    [
        ("https://example.org/c/item.json", "https://example.org/c/b.tif"),
        ("s3://bucket/c/item.json", "s3://bucket/c/b.tif"),
        ("./c/item.json", "{folder}/c/b.tif"),
    ],
)
def test_hrefs_of_listed_items_are_relative_to_their_self_link(tmp_path, own, absolute):
    item = make_item(0) | {"links": [{"rel": "self", "href": own}]}
    item["assets"]["image"]["href"] = "b.tif"
    [entry] = stac_listing(str(written(tmp_path / "items.ndjson", item)))
    assert entry.address == f"{tmp_path}/items.ndjson#item-0"
    assert entry.uri == absolute.format(folder=tmp_path)


# -- what the item reports -------------------------------------------------------------------------


def test_the_item_reports_time_and_properties(tmp_path):
    item = make_item(3)
    start, end = "2020-02-03T04:05:06+01:00", "2020-02-04T00:00:00Z"
    item["properties"] |= {"datetime": None, "start_datetime": start, "end_datetime": end}
    item["assets"]["image"]["gsd"] = 2.5
    [scene] = scenes_of(write_items(tmp_path / "items.ndjson", [item]))
    record = scene.describe()
    assert record.acquired == datetime(2020, 2, 3, 3, 5, 6, tzinfo=timezone.utc)
    assert (record.collection, record.item_id, record.proj_code) == ("made", "item-3", "EPSG:32630")
    assert {
        "eo:cloud_cover": 15,
        "gsd": 2.5,
        "proj:epsg": 32630,
    }.items() <= record.properties.items()


PROJ_1_1 = {"proj:code": "EPSG:32630", "proj:epsg": None}
NO_TRANSFORM = {"proj:transform": None}
COARSER = {"proj:shape": [SIDE // 2, SIDE // 2], "proj:transform": [20, 0, 724000, 0, -20, 4371280]}


@pytest.mark.parametrize("reported", [{}, PROJ_1_1, NO_TRANSFORM, COARSER], ids=str)
def test_a_raster_without_georeference_takes_that_of_its_item(tmp_path, reported):
    placed, bare = make_item(0), make_item(0)
    add_raster(placed, tmp_path / "placed", 0)
    add_raster(bare, tmp_path / "bare", 0, placed=False)
    bare["properties"] |= reported
    chips, records = [], []
    for name, item in (("placed", placed), ("bare", bare)):
        [scene] = scenes_of(written(tmp_path / name / "item.json", item))
        records.append(scene.describe())
        chips.append(scene.read(records[-1].windows))
    assert records[0].proj_code == records[1].proj_code == "EPSG:32630"
    assert records[1].resolution == pytest.approx(records[0].resolution)
    for own, of_item in zip(chips[0].footprints, chips[1].footprints, strict=True):
        assert own.equals_exact(of_item, 1e-9)


def test_a_georeferenced_raster_keeps_its_own_georeference(tmp_path):
    item = make_item(0)
    add_raster(item, tmp_path, 0)
    item["properties"] |= {"proj:epsg": 4326, "proj:transform": [1e-5, 0, 10, 0, -1e-5, 50]}
    [scene] = scenes_of(written(tmp_path / "item.json", item))
    record = scene.describe()
    assert record.proj_code == "EPSG:32630"
    assert scene.read(record.windows).footprints[0].centroid.x < 0


def test_identical_pixels_of_two_items_are_two_scenes(tmp_path):
    made = [make_item(n) for n in range(2)]
    for item in made:
        add_raster(item, tmp_path, 0, placed=False)
    lines = "".join(json.dumps(item) + "\n" for item in made)
    (tmp_path / "items.ndjson").write_text(lines)
    records = [scene.describe() for scene in scenes_of(tmp_path / "items.ndjson")]
    assert records[0].content_hash != records[1].content_hash


def test_an_item_with_only_a_geometry_is_divided_if_that_is_a_box(tmp_path):
    item = make_item(0)
    add_raster(item, tmp_path, 0, placed=False)
    for name in ("epsg", "bbox", "shape", "transform"):
        del item["properties"][f"proj:{name}"]
    west, south, east, north = item["bbox"]
    file = written(tmp_path / "item.json", item)
    [scene] = scenes_of(file)
    footprint = scene.read(scene.describe().windows[:1]).footprints[0]
    assert footprint.bounds == pytest.approx((west, (south + north) / 2, (west + east) / 2, north))
    item["geometry"]["coordinates"][0][0] = item["geometry"]["coordinates"][0][4] = [-0.41, 39.41]
    written(file, item)
    [scene] = scenes_of(file)
    with pytest.raises(InputError, match="cannot be divided into chips") as refusal:
        scene.read(scene.describe().windows)
    assert "proj:bbox" in refusal.value.hint
    [scene] = scenes_of(file, chip_size=None)
    assert scene.read(scene.describe().windows).footprints[0].equals(shape(item["geometry"]))


def test_plain_pictures_take_footprint_time_and_ids_of_their_item(tmp_path):
    item = make_item(0)
    Image.fromarray(np.full((SIDE, SIDE, 3), 90, np.uint8)).save(tmp_path / "a.png")
    item["assets"]["image"] |= {"href": "a.png", "type": "image/png"}
    [scene] = scenes_of(written(tmp_path / "item.json", item))
    record = scene.describe()
    assert (record.item_id, record.acquired.year) == ("item-0", 2021)
    assert len(scene.read(record.windows).footprints) == 4


def test_real_items(tmp_path):
    scenes = scenes_of(make_naip(tmp_path, 12))
    for scene in scenes:
        with scene:
            record = scene.describe()
            footprints = scene.read(record.windows).footprints
        assert record.collection == "naip" and record.proj_code == "EPSG:26916"
        assert {"gsd", "naip:state", "proj:epsg"} <= record.properties.keys()
        assert str(record.acquired.year) == record.properties["naip:year"]
        assert all(footprint.is_valid for footprint in footprints)
    assert len({scene.uri for scene in scenes}) == 12

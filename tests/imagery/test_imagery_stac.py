"""STAC items as scenes: where they are listed, which asset is read, what the item tells."""

from __future__ import annotations

import json
import shutil
import socket
from datetime import datetime, timezone

import numpy as np
import pystac
import pytest
import rasterio
from http_folder import serving
from PIL import Image
from shapely.geometry import shape
from stac_items import SIDE, add_raster, make_item, make_naip, write_items

from dcsh_pg.errors import InputError
from dcsh_pg.imagery import stac_source
from dcsh_pg.imagery.listed import listed_scenes
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.stac import stac_listing
from dcsh_pg.imagery.stac_source import find_items


def scenes_of(source, *, chip_size=64, sign=None, georeference=True, **options):
    return listed_scenes(
        stac_listing(str(source), **options),
        reading=Reading(chip_size=chip_size),
        bands=3,
        sign=sign,
        georeference=georeference,
    )


def ids(source, **options):
    return [found.item.id if found.item else "?" for found in find_items(str(source), **options)]


@pytest.fixture
def items(tmp_path):
    """A file of three items, newline-delimited."""
    return write_items(tmp_path / "items.ndjson", [make_item(n) for n in range(3)])


def parsed(items):
    return [json.loads(line) for line in items.read_text().splitlines()]


def written(file, document):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))
    return file


# -- where items are listed ----------------------------------------------------------------------


def test_every_way_to_list_items_gives_the_same_scenes(items, tmp_path):
    features = parsed(items)
    collection = written(
        tmp_path / "collection-of-items.json", {"type": "FeatureCollection", "features": features}
    )
    catalog = pystac.Catalog("root", "a catalogue")
    child = pystac.Catalog("child", "its child")
    catalog.add_child(child)
    for feature in features:
        item = pystac.Item.from_dict(feature | {"assets": {}})
        href = str(tmp_path / feature["assets"]["image"]["href"])
        item.add_asset("image", pystac.Asset(href, roles=["data"]))
        (catalog if item.id == "item-0" else child).add_item(item)
    catalog.normalize_and_save(str(tmp_path / "static"), pystac.CatalogType.SELF_CONTAINED)
    for feature in features:
        feature["assets"]["image"]["href"] = f"../images/{feature['id']}.tif"
        written(tmp_path / "loose" / f"{feature['id']}.json", feature)
    written(tmp_path / "loose" / "notes.json", {"no": "STAC"})
    written(tmp_path / "loose" / ".trash" / "item-9.json", make_item(9))
    (tmp_path / "loose" / "readme.txt").write_text("no STAC either")

    def told(source):
        records = [scene.describe() for scene in scenes_of(source)]
        assert [record.item_id for record in records] == ["item-0", "item-1", "item-2"]
        return [(record.uri, record.content_hash, record.collection) for record in records]

    expected = told(items)
    for source in (collection, tmp_path / "static", tmp_path / "static/catalog.json"):
        assert told(source) == expected
    assert told(tmp_path / "loose") == expected
    assert len(scenes_of(tmp_path / "loose" / "item-1.json")) == 1


def test_one_collection_of_many(tmp_path):
    made = [make_item(n, collection=f"c{n % 2}") for n in range(5)]
    file = write_items(tmp_path / "items.ndjson", made)
    assert ids(file, collection="c1") == ["item-1", "item-3"]
    with pytest.raises(InputError, match="no STAC item of collection 'c7'") as refusal:
        ids(file, collection="c7")
    assert refusal.value.hint == "its items are of c0, c1"


def test_an_item_that_comes_twice_is_one_scene(items):
    items.write_text(items.read_text() * 2)
    assert len(scenes_of(items)) == 3


def test_what_is_malformed_is_told_and_the_rest_goes_on(items):
    lines = items.read_text().splitlines()
    no_geometry = json.loads(lines[1])
    del no_geometry["properties"], no_geometry["geometry"]
    no_geometry["properties"] = {"datetime": "yesterday"}
    items.write_text(
        "\n".join([lines[0], '{"type": "Feature", ', json.dumps(no_geometry), lines[2]])
    )
    assert ids(items) == ["item-0", "?", "?", "item-2"]
    scenes = scenes_of(items)
    assert [scene.uri.rpartition("/")[2] for scene in scenes] == [
        "item-0.tif", "items.ndjson#2", "items.ndjson#item-1", "item-2.tif",
    ]  # fmt: skip
    for scene in scenes[1:3]:
        with pytest.raises(InputError, match=r"items\.ndjson#\S+ is no STAC"):
            scene.describe()
    assert scenes[3].describe().item_id == "item-2"


def test_a_catalogue_with_broken_links_gives_the_rest(items, tmp_path):
    feature = parsed(items)[0]
    good = written(tmp_path / "good.json", feature)
    links = [{"rel": "item", "href": f"./{name}.json"} for name in ("gone", "good", "broken")]
    links += [{"rel": "child", "href": f"./{name}/catalog.json"} for name in ("gone", ".")]
    (tmp_path / "broken.json").write_text(good.read_text()[:100])
    catalog = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "c",
        "description": "",
        "links": links,
    }
    found = list(find_items(str(written(tmp_path / "catalog.json", catalog))))
    assert [f.item.id if f.item else f.address.rpartition(f"{tmp_path}/")[2] for f in found] == [
        "gone.json", "item-0", "broken.json", "gone/catalog.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"id": 7},
        {"collection": ["x"]},
        {"properties": None},
        {"properties": {"datetime": "yesterday"}},
        {"properties": {"datetime": None, "start_datetime": "noon", "end_datetime": "noon"}},
        {"properties": {"datetime": "0001-01-01T00:00:00+14:00"}},
        {"properties": {"datetime": "2021-01-01T00:00:00Z", "note": "a\0b"}},
        {"properties": {"datetime": "2021-01-01T00:00:00Z", "note": "\ud800"}},
        {"assets": None},
        {"assets": {"image": {"href": None, "roles": ["data"]}}},
        {"assets": {"image": {"href": "a.tif", "roles": 5}}},
        {"assets": {"image": "a.tif"}},
        {"assets": {"a": {"href": "a", "type": 1}, "b": {"href": "b"}}},
        {"links": [{"rel": "self"}]},
        {"links": [{"rel": "self", "href": 5}]},
        {"links": "none"},
    ],
    ids=str,
)
def test_an_item_of_odd_types_is_the_only_victim(tmp_path, change):
    items = [make_item(0), make_item(1) | change, make_item(2)]
    for item in (items[0], items[2]):
        item["assets"]["image"]["href"] = "a.tif"
    text = "".join(json.dumps(item) + "\n" for item in items)
    (tmp_path / "items.ndjson").write_text(text)
    first, odd, last = stac_listing(str(tmp_path / "items.ndjson"))
    assert first.error is None and last.error is None
    assert odd.error.message.startswith(odd.address)


def test_what_json_has_no_word_for_is_null(tmp_path):
    item = make_item(0)
    item["properties"]["mean"] = float("nan")
    item["assets"]["image"]["href"] = "a.tif"
    [entry] = stac_listing(str(written(tmp_path / "item.json", item)))
    assert entry.record.properties["mean"] is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x89PNG\xff", "is no STAC: it is no text"),
        (b"hello", "is no STAC: neither a JSON object nor newline-delimited ones"),
        (b"[1, 2]", "is no STAC: neither a JSON object nor"),
        (b'{"a": 1}', "is no STAC"),
        (b'{"type": "FeatureCollection", "features": [{"type": "Feature"}]}', "are no items"),
        (b'{"type": "FeatureCollection", "features": []}', "has no STAC item"),
        (b'{"type": "Catalog", "stac_version": "1.0.0", "id": "x", "description": "x", "links": []}',
         "has no STAC item"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_stac_is_refused(tmp_path, content, told):
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.json {told}|x\.json is no STAC: .*{told}"):
        ids(file)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no such file or folder: .*nowhere"):
        ids(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no STAC item"):
        ids(tmp_path)
    with pytest.raises(InputError, match="unknown url type: s3"):
        ids("s3://bucket/items.json")


# -- over HTTP -----------------------------------------------------------------------------------


def test_items_and_rasters_over_http(items, tmp_path):
    local = [scene.describe() for scene in scenes_of(items)]
    with serving(tmp_path) as served:
        scenes = scenes_of(f"{served.url}/items.ndjson")
        assert [scene.uri for scene in scenes] == [
            f"{served.url}/images/item-{n}.tif" for n in range(3)
        ]
        for scene, beside in zip(scenes, local, strict=True):
            with scene:
                record = scene.describe()
                chips = scene.read(record.windows)
            assert (record.item_id, record.acquired) == (beside.item_id, beside.acquired)
            with rasterio.open(beside.uri) as source:
                pixels = np.moveaxis(source.read(), 0, -1)[:64, :64]
            assert np.array_equal(chips.pixels[0], pixels)
        with pytest.raises(InputError, match="404"):
            ids(f"{served.url}/gone.json")
    with pytest.raises(InputError, match="refused"):
        ids(f"{served.url}/items.ndjson")


def test_a_server_that_falls_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(stac_source, "SILENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/items.json"
        with pytest.raises(InputError, match="timed out"):
            ids(url)


def test_a_program_may_read_urls_its_own_way(items, monkeypatch):
    class Own(pystac.StacIO):
        def read_text(self, source, *_, **__):
            assert source == "https://private.example.org/items.ndjson"
            return items.read_text()

        def write_text(self, *_, **__):
            raise NotImplementedError

    monkeypatch.setattr(pystac.StacIO, "_default_io", Own)
    assert ids("https://private.example.org/items.ndjson") == ["item-0", "item-1", "item-2"]


def test_pages_are_followed_to_the_end(items, tmp_path):
    features = parsed(items)
    with serving(tmp_path) as served:
        for number, feature in enumerate(features):
            feature["links"] = [{"rel": "self", "href": f"{served.url}/deep/er/{number}.json"}]
            feature["assets"]["image"]["href"] = f"../../images/{feature['id']}.tif"
            following = [{"rel": "next", "href": f"page{number + 1}.json"}] if number < 2 else []
            page = {"type": "FeatureCollection", "features": [feature], "links": following}
            written(tmp_path / f"page{number}.json", page)
        assert [scene.describe().item_id for scene in scenes_of(f"{served.url}/page0.json")] == [
            "item-0", "item-1", "item-2",
        ]  # fmt: skip
        (tmp_path / "page2.json").unlink()
        assert ids(f"{served.url}/page0.json") == ["item-0", "item-1", "?"]
    page |= {"links": [{"rel": "next", "href": "x", "method": "POST"}]}
    with pytest.raises(InputError, match="by POST"):
        ids(written(tmp_path / "search.json", page))


def test_many_pages_are_no_deeper_than_few(tmp_path):
    for number in range(1200):
        page = {
            "type": "FeatureCollection",
            "features": [make_item(0)] if number % 400 == 0 else [],
        }
        page["links"] = [{"rel": "next", "href": f"{(number + 1) % 1200}.json"}]
        written(tmp_path / f"{number}.json", page)
    assert len(ids(tmp_path / "0.json")) == 3


def test_an_api_collection_is_walked_by_its_items(items, tmp_path):
    collection = {
        "type": "Collection", "stac_version": "1.0.0", "id": "made", "description": "", "license": "other",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [
            {"rel": "items", "href": "./items", "type": "application/geo+json"},
            {"rel": "items", "href": "./items.parquet", "type": "application/vnd.apache.parquet"},
        ],
    }  # fmt: skip
    written(tmp_path / "made", collection)
    written(tmp_path / "items", {"type": "FeatureCollection", "features": parsed(items)})
    with serving(tmp_path) as served:
        assert ids(f"{served.url}/made") == ["item-0", "item-1", "item-2"]


def test_urls_are_signed_at_every_opening_and_never_told(items, tmp_path):
    signed = []

    def sign(href: str) -> str:
        signed.append(href)
        return f"{href}?token=secret"

    with serving(tmp_path, token="token=secret") as served:
        source = f"{served.url}/items.ndjson"
        with pytest.raises(InputError, match="cannot be read"):
            scenes_of(source)[0].describe()
        scene = scenes_of(source, sign=sign)[0]
        for _ in range(2):
            record = scene.describe()
            scene.close()
        assert signed == [scene.uri] * 2
        assert record.uri == f"{served.url}/images/item-0.tif"

        with pytest.raises(InputError) as refusal:
            scenes_of(source, sign=lambda href: f"{href}?token=wrong")[0].describe()
        assert "wrong" not in f"{refusal.value.message} {refusal.value.hint}"
        with pytest.raises(InputError, match=r"item-0\.tif cannot be signed: KeyError: 'key'"):
            scenes_of(source, sign=lambda href: {}["key"])[0].describe()
    assert scenes_of(items, sign=lambda href: "elsewhere")[0].describe()


def test_s3_is_read_by_gdal(items, tmp_path, monkeypatch):
    [feature] = parsed(items)[:1]
    feature["assets"]["image"]["href"] = "s3://bucket/images/item-0.tif"
    shutil.copytree(tmp_path / "images", tmp_path / "bucket" / "images")
    with serving(tmp_path) as served:
        settings = {
            "AWS_S3_ENDPOINT": served.url.removeprefix("http://"), "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE", "AWS_NO_SIGN_REQUEST": "YES",
        }  # fmt: skip
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        [scene] = scenes_of(written(tmp_path / "s3.json", feature))
        with scene:
            record = scene.describe()
        assert (scene.uri, record.width) == ("s3://bucket/images/item-0.tif", SIDE)


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
def test_the_asset_that_is_taken(tmp_path, assets, chosen):
    file = written(tmp_path / "item.json", make_item(0) | {"assets": assets})
    [entry] = stac_listing(str(file))
    if chosen:
        assert entry.uri == str(tmp_path / chosen)
    else:
        assert "does not tell which of its assets is the picture" in entry.error.message
        assert all(name in entry.error.hint for name in assets)


def test_an_asset_by_name(items):
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
def test_hrefs_start_from_the_file_of_the_item(tmp_path, href, absolute):
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
def test_hrefs_of_listed_items_start_from_their_own_address(tmp_path, own, absolute):
    item = make_item(0) | {"links": [{"rel": "self", "href": own}]}
    item["assets"]["image"]["href"] = "b.tif"
    [entry] = stac_listing(str(written(tmp_path / "items.ndjson", item)))
    assert entry.address == f"{tmp_path}/items.ndjson#item-0"
    assert entry.uri == absolute.format(folder=tmp_path)


# -- what the item tells -------------------------------------------------------------------------


def test_the_item_tells_time_and_properties(tmp_path):
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


@pytest.mark.parametrize("told", [{}, PROJ_1_1, NO_TRANSFORM, COARSER], ids=str)
def test_a_raster_without_a_place_has_that_of_its_item(tmp_path, told):
    placed, bare = make_item(0), make_item(0)
    add_raster(placed, tmp_path / "placed", 0)
    add_raster(bare, tmp_path / "bare", 0, placed=False)
    bare["properties"] |= told
    chips, records = [], []
    for name, item in (("placed", placed), ("bare", bare)):
        [scene] = scenes_of(written(tmp_path / name / "item.json", item))
        records.append(scene.describe())
        chips.append(scene.read(records[-1].windows))
    assert records[0].proj_code == records[1].proj_code == "EPSG:32630"
    assert records[1].resolution == pytest.approx(records[0].resolution)
    for own, of_item in zip(chips[0].footprints, chips[1].footprints, strict=True):
        assert own.equals_exact(of_item, 1e-9)


def test_a_raster_that_tells_its_place_keeps_it(tmp_path):
    item = make_item(0)
    add_raster(item, tmp_path, 0)
    item["properties"] |= {"proj:epsg": 4326, "proj:transform": [1e-5, 0, 10, 0, -1e-5, 50]}
    [scene] = scenes_of(written(tmp_path / "item.json", item))
    record = scene.describe()
    assert record.proj_code == "EPSG:32630"
    assert scene.read(record.windows).footprints[0].centroid.x < 0


def test_like_pixels_of_two_items_are_two_scenes(tmp_path):
    made = [make_item(n) for n in range(2)]
    for item in made:
        add_raster(item, tmp_path, 0, placed=False)
    lines = "".join(json.dumps(item) + "\n" for item in made)
    (tmp_path / "items.ndjson").write_text(lines)
    records = [scene.describe() for scene in scenes_of(tmp_path / "items.ndjson")]
    assert records[0].content_hash != records[1].content_hash


def test_of_an_outline_only_whole_images_are_made(tmp_path):
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


def test_plain_pictures_have_place_time_and_ids_of_their_item(tmp_path):
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

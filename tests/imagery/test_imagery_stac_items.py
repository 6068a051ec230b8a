"""STAC items, wherever they are listed: files, folders, catalogues, over HTTP, signed, on S3."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
from urllib.parse import quote

import numpy as np
import pystac
import pytest
import rasterio
from http_folder import serving
from stac_items import SIDE, make_item, parsed, scenes_of, write_items, written

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.sources import stac_items
from dcsh_pg.imagery.sources.stac import stac_listing
from dcsh_pg.imagery.sources.stac_items import find_items


def ids(source, **options):
    return [found.item.id if found.item else "?" for found in find_items(str(source), **options)]


@pytest.fixture
def items(tmp_path):
    """A file of three items, newline-delimited."""
    return write_items(tmp_path / "items.ndjson", [make_item(n) for n in range(3)])


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

    def reported(source):
        records = [scene.describe() for scene in scenes_of(source)]
        assert [record.item_id for record in records] == ["item-0", "item-1", "item-2"]
        return [(record.uri, record.content_hash, record.collection) for record in records]

    expected = reported(items)
    for source in (collection, tmp_path / "static", tmp_path / "static/catalog.json"):
        assert reported(source) == expected
    assert reported(tmp_path / "loose") == expected
    assert len(scenes_of(tmp_path / "loose" / "item-1.json")) == 1


def test_a_folder_whose_collection_links_to_nothing_is_searched(items, tmp_path):
    collection = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "c",
        "description": "",
        "links": [],
    }
    written(tmp_path / "collection.json", collection)
    assert ids(tmp_path) == ["item-0", "item-1", "item-2"]


def test_scenes_can_be_pickled(items):
    items.write_text(items.read_text() + "{}\n")
    for scene in scenes_of(items, sign=quote):
        travelled = pickle.loads(pickle.dumps(scene))
        assert travelled.uri == scene.uri
        if "#" in scene.uri:
            with pytest.raises(InputError, match="is not STAC") as refusal:
                travelled.describe()
            assert refusal.value.hint
        else:
            assert travelled.describe().content_hash == scene.describe().content_hash


def test_items_of_one_collection_are_selected(tmp_path):
    made = [make_item(n, collection=f"c{n % 2}") for n in range(5)]
    file = write_items(tmp_path / "items.ndjson", made)
    assert ids(file, collection="c1") == ["item-1", "item-3"]
    with pytest.raises(InputError, match="no STAC items of collection 'c7'") as refusal:
        ids(file, collection="c7")
    assert refusal.value.hint == "its items belong to c0, c1"


def test_a_duplicate_item_is_one_scene(items):
    items.write_text(items.read_text() * 2)
    assert len(scenes_of(items)) == 3


def test_malformed_items_are_reported_and_the_others_read(items):
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
        with pytest.raises(InputError, match=r"items\.ndjson#\S+ is not STAC"):
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
def test_an_item_with_wrong_types_fails_alone(tmp_path, change):
    items = [make_item(0), make_item(1) | change, make_item(2)]
    for item in (items[0], items[2]):
        item["assets"]["image"]["href"] = "a.tif"
    text = "".join(json.dumps(item) + "\n" for item in items)
    (tmp_path / "items.ndjson").write_text(text)
    first, odd, last = stac_listing(str(tmp_path / "items.ndjson"))
    assert first.error is None and last.error is None
    assert odd.error.message.startswith(odd.address)


def test_nan_and_infinity_in_items_become_null(tmp_path):
    item = make_item(0)
    item["properties"]["mean"] = float("nan")
    item["assets"]["image"]["href"] = "a.tif"
    [entry] = stac_listing(str(written(tmp_path / "item.json", item)))
    assert entry.metadata.properties["mean"] is None


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        (b"\x89PNG\xff", "is not STAC: it is not text"),
        (b"hello", "is not STAC: neither a JSON object nor newline-delimited ones"),
        (b"[1, 2]", "is not STAC: neither a JSON object nor"),
        (b'{"a": 1}', "is not STAC"),
        (b'{"type": "FeatureCollection", "features": [{"type": "Feature"}]}', "are not items"),
        (b'{"type": "FeatureCollection", "features": []}', "has no STAC item"),
        (b'{"type": "Catalog", "stac_version": "1.0.0", "id": "x", "description": "x", "links": []}',
         "has no STAC item"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_stac_is_refused(tmp_path, content, reported):
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.json {reported}|x\.json is not STAC: .*{reported}"):
        ids(file)


def test_sources_without_items_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no such file or folder: .*nowhere"):
        ids(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no STAC item"):
        ids(tmp_path)
    with pytest.raises(InputError, match="only http and https URLs are read"):
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


def test_a_silent_server_times_out(monkeypatch):
    monkeypatch.setattr(stac_items, "SILENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/items.json"
        with pytest.raises(InputError, match="timed out"):
            ids(url)


def test_the_stac_io_that_a_program_sets_reads_urls(items, monkeypatch):
    class Own(pystac.StacIO):
        def read_text(self, source, *_, **__):
            assert source == "https://private.example.org/items.ndjson"
            return items.read_text()

        def write_text(self, *_, **__):
            raise NotImplementedError

    monkeypatch.setattr(pystac.StacIO, "_default_io", Own)
    assert ids("https://private.example.org/items.ndjson") == ["item-0", "item-1", "item-2"]


def test_every_page_of_an_api_is_read(items, tmp_path):
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
    with pytest.raises(InputError, match="a POST request"):
        ids(written(tmp_path / "search.json", page))


def test_many_pages_are_read_without_recursion(tmp_path):
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


def test_urls_are_signed_at_every_opening_and_never_logged(items, tmp_path):
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

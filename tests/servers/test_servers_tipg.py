"""tipg on an archive: its layer and its searches as OGC API Features and Tiles."""

from datetime import datetime, timedelta, timezone

import mapbox_vector_tile
import numpy as np
import pytest
import searching as search
import shapely
from shapely.geometry import shape
from synthetic import Scene, add, new_archive

from dcsh_pg.codes import to_hex
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.dsn import url

CODES = np.random.default_rng(0).integers(0, 256, (40, 8), dtype=np.uint8)
BOXES = [shapely.box(9 + n / 100, 48.5, 9.01 + n / 100, 48.51) for n in range(40)]
FIRST_DAY = datetime(2021, 6, 1, tzinfo=timezone.utc)
TILE = (11, 1075, 707)
"""Zoom, x and y of a tile from 8.965 to 9.141 degrees east that the first chips are in."""


@pytest.fixture
def conn(any_postgis):
    with connect(any_postgis) as opened:
        loader = Loader(opened, new_archive(opened, "places"))
        for n in range(4):
            chips = slice(10 * n, 10 * n + 10)
            day = FIRST_DAY + timedelta(days=n)
            add(loader, Scene(f"{n}.tif", acquired=day), CODES[chips], BOXES[chips])
        loader.flush()
        yield opened


@pytest.fixture
def client(tipg, conn, any_postgis, monkeypatch):
    from starlette.testclient import TestClient

    monkeypatch.setenv("DATABASE_URL", url(any_postgis))
    with TestClient(tipg, raise_server_exceptions=False) as opened:
        yield opened


def items(client, collection, **query):
    answer = client.get(f"/collections/dcsh.{collection}/items", params={"f": "geojson", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_archive_is_there_as_its_layer_and_as_a_search(client):
    found = client.get("/collections", params={"f": "json"}).json()["collections"]
    collections = {collection["id"]: collection for collection in found}
    assert collections.keys() == {"dcsh.places_layer", "dcsh.search_layer"}
    extent = collections["dcsh.places_layer"]["extent"]
    assert extent["spatial"]["bbox"] == [pytest.approx([9, 48.5, 9.4, 48.51])]
    assert [end[:10] for end in extent["temporal"]["interval"][0]] == ["2021-06-01", "2021-06-04"]


def test_items_of_a_layer_are_its_rows(client, conn):
    page = items(client, "places_layer", limit=100)
    rows = conn.execute("SELECT id, uri, geom FROM dcsh.places_layer ORDER BY id").fetchall()
    assert page["numberMatched"] == 40
    for feature, (id, uri, geom) in zip(page["features"], rows, strict=True):
        assert (feature["id"], feature["properties"]["uri"]) == (id, uri)
        assert shapely.equals_exact(shape(feature["geometry"]), shapely.from_wkb(geom), 1e-9)
    assert [f["properties"]["code"] for f in page["features"]] == [to_hex(code) for code in CODES]

    one = client.get("/collections/dcsh.places_layer/items/7", params={"f": "geojson"}).json()
    assert (one["id"], one["properties"]["uri"]) == (7, "0.tif")
    filtered = items(client, "places_layer", filter="uri = '2.tif' AND id > 25", limit=100)
    assert [f["id"] for f in filtered["features"]] == [26, 27, 28, 29, 30]
    day = items(client, "places_layer", datetime="2021-06-02T00:00:00Z", bbox="9,48,9.125,49")
    assert [f["id"] for f in day["features"]] == [11, 12, 13]


@pytest.mark.parametrize("any_postgis", ["postgis"], indirect=True)
@pytest.mark.parametrize("query", [
    {"chip": 5, "k": 12},
    {"code": to_hex(CODES[3]), "k": 12},
    {"code": "0x" + to_hex(CODES[3]), "k": 40, "max_distance": 30},
    {"chip": 5, "k": 12, "since": "2021-06-02", "until": "2021-06-04T00:00:00Z"},
    {"chip": 5, "k": 12, "area": "POLYGON((9 48.4,9.2 48.4,9.2 48.6,9 48.6,9 48.4))"},
])  # fmt: skip
def test_items_of_a_search_are_the_rows_of_sql(client, conn, query):
    page = items(client, "search_layer", archive="places", sortby="rank", limit=100, **query)
    arguments = ", ".join(f"{name} => %({name})s" for name in query)
    rows = conn.execute(
        f"SELECT id, rank, distance, uri FROM dcsh.search_layer('places', {arguments})", query
    ).fetchall()
    assert rows
    assert rows == [
        (f["id"], *(f["properties"][name] for name in ("rank", "distance", "uri")))
        for f in page["features"]
    ]


def test_items_of_a_search_are_the_hits_of_python(client, conn):
    page = items(client, "search_layer", archive="places", chip=5, sortby="rank")
    hits = search.similar_to(conn, "places", 5)
    assert [f["id"] for f in page["features"]] == [hit.id for hit in hits]


def features_of_tile(client, collection, **query):
    z, x, y = TILE
    answer = client.get(
        f"/collections/dcsh.{collection}/tiles/WebMercatorQuad/{z}/{x}/{y}", params=query
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    return mapbox_vector_tile.decode(answer.content)["default"]["features"]


IN_TILE = "geom && ST_Transform(ST_TileEnvelope(%s, %s, %s), 4326)"


def test_a_tile_of_a_layer_has_the_chips_that_sql_finds_in_it(client, conn):
    features = features_of_tile(client, "places_layer")
    rows = conn.execute(
        f"SELECT id, code, uri FROM dcsh.places_layer WHERE {IN_TILE} ORDER BY id", TILE
    ).fetchall()
    assert 0 < len(rows) < 40
    shown = [tuple(f["properties"][name] for name in ("id", "code", "uri")) for f in features]
    assert sorted(shown) == rows


def test_a_tile_of_a_search_has_the_hits_that_sql_finds_in_it(client, conn):
    features = features_of_tile(client, "search_layer", archive="places", chip=5, k=15)
    rows = conn.execute(
        f"""
        SELECT id, rank, distance FROM dcsh.search_layer('places', 5, k => 15)
        WHERE {IN_TILE} ORDER BY id
        """,
        TILE,
    ).fetchall()
    assert 0 < len(rows) < 15
    shown = [tuple(f["properties"][name] for name in ("id", "rank", "distance")) for f in features]
    assert sorted(shown) == rows


@pytest.mark.parametrize("any_postgis", ["postgis"], indirect=True)
@pytest.mark.parametrize(("query", "status", "message"), [
    ({"archive": "places"}, 500, "either chip or code is required, and neither is given"),
    ({"archive": "nowhere", "chip": 1}, 500, 'archive "nowhere" does not exist'),
    ({"archive": "places", "chip": 99}, 500, 'archive "places" has no chip 99'),
    ({"archive": "places", "code": "pond"}, 500, 'code must be hexadecimal, not "pond"'),
    ({"chip": 1}, 422, "archive (expected type:text)"),
])  # fmt: skip
def test_a_wrong_search_is_reported_why(client, query, status, message):
    answer = client.get("/collections/dcsh.search_layer/items", params={"f": "geojson", **query})
    assert (answer.status_code, message in answer.json()["detail"]) == (status, True)

"""Searches for tile and feature servers against the search itself and plain geometry."""

from datetime import datetime, timedelta, timezone

import mapbox_vector_tile
import numpy as np
import psycopg
import pytest
import searching as search
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Json
from synthetic import Scene, add, new_archive

from dcsh_pg.archive import Archive
from dcsh_pg.codes import to_hex
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search.query import ChipQuery
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound, ServerError, UsageError

WEST, SOUTH, STEP, SIDE = 9.0, 48.5, 0.01, 12
CORNERS = [(WEST + STEP * (n % SIDE), SOUTH + STEP * (n // SIDE)) for n in range(SIDE * SIDE)]
FOOTPRINTS = [shapely.box(x, y, x + STEP, y + STEP) for x, y in CORNERS]
CODES = np.random.default_rng(0).integers(0, 4, (len(FOOTPRINTS), 8), dtype=np.uint8)
FIRST_DAY = datetime(2021, 6, 1, tzinfo=timezone.utc)
EXAMPLES = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def conn(any_postgis):
    """With archive places: a square of chips, a scene and a day a row, and a chip without a place."""
    with connect(any_postgis) as opened:
        loader = Loader(opened, new_archive(opened, "places"))
        for row in range(SIDE):
            chips = slice(SIDE * row, SIDE * (row + 1))
            day = FIRST_DAY + timedelta(days=row)
            add(loader, Scene(f"{row}.tif", acquired=day), CODES[chips], FOOTPRINTS[chips])
        add(loader, Scene("nowhere.png"), CODES[:1])
        loader.flush()
        yield opened


def decoded(mvt):
    return mapbox_vector_tile.decode(mvt, default_options={"y_coord_down": True})


def ids(mvt, layer="chips"):
    return [feature["id"] for feature in decoded(mvt).get(layer, {"features": []})["features"]]


def tile_of(lon, lat, z):
    """The tile at a place, as the definition of Web Mercator tiles has it."""
    x = (lon + 180) / 360 * 2**z
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * 2**z
    return int(x), int(y)


def meeting(z, x, y):
    """Ids of the chips that meet a tile with its margin, and of those that do so by a hair."""
    margin = 64 / 4096
    lon = (np.array([x - margin, x + 1 + margin])) / 2**z * 360 - 180
    lat = np.degrees(
        np.arctan(np.sinh(np.pi * (1 - 2 * np.array([y + 1 + margin, y - margin]) / 2**z)))
    )
    tile = shapely.box(lon[0], lat[0], lon[1], lat[1])
    hair = 360 / 2**z / 4096
    inside = np.flatnonzero(shapely.intersects(FOOTPRINTS, tile.buffer(-hair))) + 1
    near = np.flatnonzero(shapely.intersects(FOOTPRINTS, tile.buffer(hair))) + 1
    return set(inside.tolist()), set(near.tolist()) - set(inside.tolist())


@EXAMPLES
@given(
    chip=st.integers(1, len(FOOTPRINTS)),
    by_code=st.booleans(),
    k=st.integers(1, 200),
    days=st.none() | st.tuples(st.integers(0, 12), st.integers(0, 12)),
    area=st.none() | st.tuples(st.integers(0, 10), st.integers(0, 10)),
    max_distance=st.none() | st.integers(0, 16),
)
def test_search_layer_gives_the_rows_of_the_search(
    conn, chip, by_code, k, days, area, max_distance
):
    filters = {"k": k, "max_distance": max_distance}
    arguments = {"k": k}
    if max_distance is not None:
        arguments["max_distance"] = max_distance
    if days is not None:
        filters["since"], filters["until"] = (FIRST_DAY + timedelta(days=n) for n in days)
        arguments |= {key: filters[key] for key in ("since", "until")}
    if area is not None:
        x, y = (WEST + STEP * area[0], SOUTH + STEP * area[1])
        filters["area"] = shapely.box(x, y, x + 3 * STEP, y + 2 * STEP)
        arguments["area"] = filters["area"].wkt if by_code else shapely.to_geojson(filters["area"])
    is_empty = days is not None and days[0] >= days[1]
    if by_code:
        hits = [] if is_empty else search.similar(conn, "places", bytes(CODES[chip - 1]), **filters)
        arguments["code"] = ("0x" if k % 2 else "") + to_hex(CODES[chip - 1])
    else:
        hits = [] if is_empty else search.similar_to(conn, "places", chip, **filters)
        arguments["chip"] = chip
    given_arguments = ", ".join(f"{name} => %({name})s" for name in arguments)
    rows = conn.execute(
        f"""
        SELECT rank, distance, id, acquired, uri, ARRAY[col_off, row_off, width, height]
        FROM dcsh.search_layer('places', {given_arguments})
        """,
        arguments,
    ).fetchall()
    assert rows == [
        (rank, hit.distance, hit.id, hit.acquired, hit.uri, list(hit.window))
        for rank, hit in enumerate(hits, 1)
    ]


@EXAMPLES
@given(place=st.sampled_from(CORNERS), z=st.integers(9, 15))
def test_a_tile_has_the_chips_that_meet_it(conn, place, z):
    x, y = tile_of(place[0] + STEP / 2, place[1] + STEP / 2, z)
    shown = ids(search.tile(conn, "places", z, x, y))
    inside, by_a_hair = meeting(z, x, y)
    assert shown == sorted(shown)
    assert inside
    assert set(shown) - by_a_hair == inside


def test_a_feature_has_the_properties_of_the_layer(conn):
    x, y = tile_of(WEST + STEP / 2, SOUTH + STEP / 2, 14)
    chips = decoded(search.tile(conn, "places", 14, x, y))["chips"]
    assert chips["extent"] == 4096
    first = chips["features"][0]
    assert first["id"] == 1
    assert first["properties"] == {
        "acquired": "2021-06-01T00:00:00Z", "valid_fraction": 1, "scene_id": 1, "uri": "0.tif",
        "col_off": 0, "row_off": 0, "width": 64, "height": 64,
    }  # fmt: skip
    assert first["geometry"]["type"] == "Polygon"


@EXAMPLES
@given(chip=st.integers(1, len(FOOTPRINTS)), k=st.integers(1, 60), z=st.integers(9, 13))
def test_hits_are_those_of_the_archive_and_only_then_cut_to_the_tile(conn, chip, k, z):
    hits = {hit.id: hit for hit in search.similar_to(conn, "places", chip, k=k)}
    placed = hits.keys() - {len(FOOTPRINTS) + 1}
    seen = set()
    for x, y in {tile_of(*np.add(corner, STEP / 2), z) for corner in CORNERS}:
        mvt = search.tile(conn, "places", z, x, y, chip=chip, k=k)
        inside, by_a_hair = meeting(z, x, y)
        assert set(ids(mvt)) - by_a_hair == placed & inside
        for feature in decoded(mvt).get("chips", {"features": []})["features"]:
            assert feature["properties"]["distance"] == hits[feature["id"]].distance
            seen.add(feature["id"])
    assert seen == placed


def test_hits_too_small_for_an_outline_are_seen_by_their_centres(conn):
    hits = search.similar_to(conn, "places", 1, k=30)
    world = search.tile(conn, "places", 0, 0, 0, chip=1, k=30)
    assert ids(world) == []
    assert ids(world, "centres") == sorted({hit.id for hit in hits} - {len(FOOTPRINTS) + 1})


def test_chips_under_two_pixels_are_left_out_unless_they_are_hits(conn):
    x, y = tile_of(WEST + STEP / 2, SOUTH + STEP / 2, 8)
    assert 1 < STEP / (360 / 2**8 / 256) < 2
    assert ids(search.tile(conn, "places", 8, x, y)) == []
    assert len(ids(search.tile(conn, "places", 8, x, y, chip=1, k=30))) >= 29


def test_filters_of_a_tile(conn):
    x, y = tile_of(WEST + STEP / 2, SOUTH + STEP / 2, 9)

    def shown(**query):
        return ids(search.tile(conn, "places", 9, x, y, **query))

    day = FIRST_DAY + timedelta(days=3)
    assert shown(since=day, until=day + timedelta(days=1)) == list(range(37, 49))
    corner = shapely.box(WEST, SOUTH, WEST + STEP / 2, SOUTH + STEP / 2)
    assert shown(area=corner) == [1]
    assert shown(code=bytes(CODES[4]), k=200, area=corner, max_distance=64) == [1]
    assert shown(chip=5, k=200, max_distance=0) == sorted(
        hit.id
        for hit in search.similar_to(conn, "places", 5, k=200, max_distance=0)
        if hit.footprint
    )


def test_a_tile_is_the_same_under_any_plan_and_time_zone(conn):
    x, y = tile_of(WEST + STEP / 2, SOUTH + STEP / 2, 10)
    everything, hits = (
        search.tile(conn, "places", 10, x, y, **query) for query in ({}, {"chip": 9, "k": 50})
    )
    for setting in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
        conn.execute(f"SET {setting} = 0")
    conn.execute("SET enable_indexscan = off; SET enable_bitmapscan = off")
    conn.execute("SET TIME ZONE 'Asia/Kathmandu'; SET datestyle = 'German'")
    assert search.tile(conn, "places", 10, x, y) == everything
    assert search.tile(conn, "places", 10, x, y, chip=9, k=50) == hits


def test_python_gives_the_tile_of_sql(any_postgis, conn):
    x, y = tile_of(WEST, SOUTH, 10)
    query = {"archive": "places", "chip": 3, "k": 7}
    (mvt,) = conn.execute("SELECT dcsh.tiles(10, %s, %s, %s)", [x, y, Json(query)]).fetchone()
    archive = Archive.open("places", dsn=any_postgis)
    assert archive.tile(10, x, y, ChipQuery(3), k=7) == mvt


WRONG_QUERIES = [
    ("[]", "query must be a JSON object"),
    ('"places"', "query must be a JSON object"),
    (None, "query must be a JSON object, not NULL"),
    ("{}", "query has no archive"),
    ('{"archive": "nowhere"}', 'archive "nowhere" does not exist'),
    ('{"archive": "places", "limit": 3}', 'query has no parameter "limit"'),
    ('{"archive": "places", "k": "many"}', 'invalid input syntax for type integer: "many"'),
    ('{"archive": "places", "k": 5}', "neither is given"),
    ('{"archive": "places", "chip": 0}', "neither is given"),
    ('{"archive": "places", "chip": 1, "k": 0}', "k must be positive, not 0"),
    ('{"archive": "places", "chip": 1, "code": "0x00"}', "both are given"),
    ('{"archive": "places", "chip": 999}', 'archive "places" has no chip 999'),
    ('{"archive": "places", "code": "0xfg"}', 'code must be hexadecimal, not "0xfg"'),
    ('{"archive": "places", "code": "0x00ff"}', "code has 16 bits"),
    ('{"archive": "places", "code": 1234567890123456}', "code must be text, not a number"),
    ('{"archive": "places", "chip": 1, "area": "here"}', 'area must be WKT or GeoJSON, not "here"'),
    ('{"archive": "places", "area": "here"}', 'area must be WKT or GeoJSON, not "here"'),
    ('{"archive": "places", "area": "POLYGON EMPTY"}', "the area is empty"),
    ('{"archive": "places", "area": "POINT(500 0)"}', "coordinates out of range"),
    ('{"archive": "places", "chip": 1, "max_distance": -1}', "max_distance must not be negative"),
    ('{"archive": "places", "since": "soon"}', 'invalid input syntax for type timestamp'),
]  # fmt: skip


@pytest.mark.parametrize("any_postgis", ["postgis"], indirect=True)
@pytest.mark.parametrize(("query", "message"), WRONG_QUERIES)
def test_a_wrong_query_gets_one_clear_error(conn, query, message):
    with pytest.raises(psycopg.Error) as error:
        conn.execute("SELECT dcsh.tiles(0, 0, 0, %s)", [query])
    assert message in error.value.diag.message_primary


@pytest.mark.parametrize("any_postgis", ["postgis"], indirect=True)
def test_what_is_not_there(conn, database):
    for z, x, y in ((-1, 0, 0), (31, 0, 0), (3, 8, 0), (3, 0, -1)):
        with pytest.raises(UsageError, match=f"tile {z}/{x}/{y} does not exist"):
            search.tile(conn, "places", z, x, y)
    with pytest.raises(NotFound, match="no chip 999"):
        search.tile(conn, "places", 0, 0, 0, chip=999)
    with connect(database) as core:
        new_archive(core, "places")
        with pytest.raises(ServerError, match="without"):
            search.tile(core, "places", 0, 0, 0)

"""Search against plain brute force, on every kind of server."""

from datetime import datetime, timedelta, timezone

import numpy as np
import psycopg
import pytest
import searching as search
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from synthetic import Scene, add, new_archive

from dcsh_pg import codes as packed
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search import chips
from dcsh_pg.database.search.hits import Hit
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound, UsageError

EXAMPLES = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
DAY = datetime(2021, 6, 1, tzinfo=timezone.utc)


def filled(conn, codes, *, footprints=None, bits=64, name="places"):
    if any(archive.name == name for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, name)
    loader = Loader(conn, new_archive(conn, name, bits))
    add(loader, Scene(f"{name}.tif"), codes, footprints)
    loader.flush()
    return name


def brute_force(codes, query, keep=None):
    """(distance, id) of the rows to keep, by (distance, id)."""
    distances = packed.hamming(codes, query)[:, 0]
    keep = np.ones(len(codes), bool) if keep is None else keep
    return sorted((int(d), i + 1) for i, d in enumerate(distances) if keep[i])


def found(hits):
    return [(hit.distance, hit.id) for hit in hits]


@EXAMPLES
@given(
    codes=arrays(np.uint8, st.tuples(st.integers(1, 40), st.just(2)), elements=st.integers(0, 3)),
    k=st.integers(1, 50),
    radius=st.integers(0, 16),
    mask=arrays(np.uint8, (2,)),
)
def test_equals_brute_force_with_many_ties_and_under_an_xor_mask(conn, codes, k, radius, mask):
    filled(conn, codes, bits=16)
    expected = brute_force(codes, codes[:1])
    query = codes[0].tobytes()
    assert found(search.similar(conn, "places", query, k=k)) == expected[:k]
    within = [hit for hit in expected if hit[0] <= radius]
    assert found(search.within(conn, "places", query, radius)) == within
    assert found(search.similar(conn, "places", query, k=k, max_distance=radius)) == within[:k]
    others = [hit for hit in expected if hit[1] != 1]
    assert found(search.similar_to(conn, "places", 1, k=k)) == others[:k]
    filled(conn, codes ^ mask, bits=16)
    masked = (codes[0] ^ mask).tobytes()
    assert found(search.similar(conn, "places", masked, k=k)) == expected[:k]


@pytest.mark.parametrize("bits", [16, 64, 1024])
def test_codes_of_every_length_come_back_as_they_went_in(conn, random_codes, bits):
    codes = random_codes(20, bits)
    filled(conn, codes, bits=bits)
    assert [chips.code_of(conn, "places", i + 1) for i in range(20)] == [c.tobytes() for c in codes]
    assert (
        found(search.similar(conn, "places", codes[3].tobytes(), k=5))
        == (brute_force(codes, codes[3:4])[:5])
    )


def test_equal_codes_come_in_the_order_of_their_ids(conn):
    filled(conn, np.zeros((300, 8), np.uint8))
    hits = search.similar(conn, "places", bytes(8), k=120)
    assert found(hits) == [(0, i + 1) for i in range(120)]


def test_a_parallel_plan_gives_the_same_rows(conn, random_codes):
    codes = random_codes(5000, 16)
    filled(conn, codes, bits=16)
    serial = search.similar(conn, "places", codes[0].tobytes(), k=100)
    for setting in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
        conn.execute(f"SET {setting} = 0")
    assert search.similar(conn, "places", codes[0].tobytes(), k=100) == serial
    assert found(serial) == brute_force(codes, codes[:1])[:100]


@EXAMPLES
@given(
    corners=st.lists(
        st.tuples(st.integers(-20, 20), st.integers(-20, 20)), min_size=1, max_size=25
    ),
    box=st.tuples(*[st.integers(-22, 20)] * 2, *[st.integers(1, 12)] * 2),
)
def test_area_keeps_the_footprints_that_share_a_point_with_it(conn, corners, box):
    footprints = [shapely.box(x / 2, y / 2, x / 2 + 1, y / 2 + 1) for x, y in corners]
    codes = np.zeros((len(corners), 8), np.uint8)
    filled(conn, codes, footprints=footprints)
    x, y, width, height = (value / 2 for value in box)
    for area in (
        shapely.box(x, y, x + width, y + height),
        shapely.Polygon([(x, y), (x + width, y), (x, y + height)]),
    ):
        keep = shapely.intersects(footprints, area)
        hits = search.similar(conn, "places", bytes(8), k=100, area=area)
        assert found(hits) == brute_force(codes, codes[:1], keep)


def test_chip_at_prefers_the_newest_and_then_the_best_centred(conn):
    loader = Loader(conn, new_archive(conn, "places"))
    side_by_side = [shapely.box(0, 0, 2, 2), shapely.box(1, 0, 3, 2)]
    add(loader, Scene("old.tif", acquired=DAY), np.zeros((2, 8), np.uint8), side_by_side)
    add(
        loader,
        Scene("new.tif", acquired=DAY + timedelta(days=1)),
        np.zeros((1, 8), np.uint8),
        [shapely.box(10, 10, 11, 11)],
    )
    add(loader, Scene("undated.tif"), np.zeros((1, 8), np.uint8), [shapely.box(-5, -5, 20, 20)])
    loader.flush()
    assert chips.chip_at(conn, "places", 1.2, 1) == 1
    assert chips.chip_at(conn, "places", 1.8, 1) == 2
    assert chips.chip_at(conn, "places", 10.5, 10.5) == 3
    assert chips.chip_at(conn, "places", -4, -4) == 4
    with pytest.raises(NotFound, match="covers longitude 50, latitude 50"):
        chips.chip_at(conn, "places", 50, 50)
    with pytest.raises(UsageError, match="coordinates out of range"):
        chips.chip_at(conn, "places", 50, 150)


def test_until_is_not_included_and_undated_chips_fall_out(conn):
    loader = Loader(conn, new_archive(conn, "places"))
    for day in range(3):
        scene = Scene(f"{day}.tif", acquired=DAY + timedelta(days=day))
        add(loader, scene, np.zeros((1, 8), np.uint8))
    add(loader, Scene("undated.tif"), np.zeros((1, 8), np.uint8))
    loader.flush()

    def uris(**times):
        return [hit.uri for hit in search.similar(conn, "places", bytes(8), **times)]

    assert uris() == ["0.tif", "1.tif", "2.tif", "undated.tif"]
    assert uris(since=DAY + timedelta(days=1)) == ["1.tif", "2.tif"]
    assert uris(until=DAY + timedelta(days=1)) == ["0.tif"]
    assert uris(since=DAY, until=DAY + timedelta(days=2)) == ["0.tif", "1.tif"]


def test_a_hit_has_everything_about_its_chip(conn):
    loader = Loader(conn, new_archive(conn, "places"))
    ring = [[8.5, 47.25], [9.5, 47.0], [9.75, 48.0], [8.75, 48.25], [8.5, 47.25]]
    properties = {"label": "ponds", "n": [1, 2]}
    scene = Scene("s.tif", acquired=DAY, properties=properties, collection="naip", item_id="s")
    loader.add(
        scene,
        np.full((1, 8), 255, np.uint8),
        np.array([[64, 128, 64, 32]], np.int32),
        [shapely.Polygon(ring)],
        np.array([0.75], np.float32),
        3,
    )
    loader.flush()
    (hit,) = search.similar(conn, "places", bytes(8))
    assert hit == Hit(
        id=1, distance=64, scene_id=1, uri="s.tif", window=(64, 128, 64, 32),
        footprint={"type": "Polygon", "coordinates": [ring]}, acquired=DAY, valid_fraction=0.75,
        properties=properties, collection="naip", item_id="s",
    )  # fmt: skip
    assert hit.acquired.utcoffset() == timedelta(0)
    chip = chips.chip(conn, "places", 1)
    assert (chip.distance, chip.footprint, chip.uri) == (0, hit.footprint, hit.uri)
    assert (chip.collection, chip.item_id) == ("naip", "s")


def test_labelled_codes_leaves_out_what_has_no_label(conn, random_codes):
    codes = random_codes(7)
    loader = Loader(conn, new_archive(conn, "places"))
    add(loader, Scene("a", properties={"label": "ponds"}), codes[:3])
    add(loader, Scene("b"), codes[3:5])
    add(loader, Scene("c", properties={"label": "woods"}), codes[5:])
    loader.flush()
    ids, found_codes, labels = chips.labelled_codes(conn, "places", "label")
    assert ids.tolist() == [1, 2, 3, 6, 7]
    assert np.array_equal(found_codes, codes[[0, 1, 2, 5, 6]])
    assert labels == ["ponds"] * 3 + ["woods"] * 2
    with pytest.raises(NotFound, match="property 'kind'"):
        chips.labelled_codes(conn, "places", "kind")


def test_invalid_arguments_are_errors_with_a_hint(conn, random_codes):
    filled(conn, random_codes(3))
    with pytest.raises(UsageError, match='16 bits, but archive "places" has codes of 64') as error:
        search.similar(conn, "places", bytes(2))
    assert "same model" in error.value.hint
    with pytest.raises(UsageError, match="k must be positive"):
        search.similar(conn, "places", bytes(8), k=0)
    with pytest.raises(UsageError, match="max_distance must not be negative"):
        search.within(conn, "places", bytes(8), -1)
    with pytest.raises(NotFound, match='archive "palaces" does not exist'):
        search.similar(conn, "palaces", bytes(8))
    with pytest.raises(NotFound, match="has no chip 4"):
        search.similar_to(conn, "places", 4)
    with pytest.raises(UsageError, match="the area is empty"):
        search.similar(conn, "places", bytes(8), area=shapely.Polygon())


def test_without_postgis_only_one_plain_polygon_is_searched(core, random_codes):
    filled(core, random_codes(3))
    holed = shapely.box(0, 0, 3, 3) - shapely.box(1, 1, 2, 2)
    two = shapely.box(0, 0, 1, 1) | shapely.box(5, 5, 6, 6)
    for area in (holed, two):
        with pytest.raises(UsageError, match="without PostGIS") as error:
            search.similar(core, "places", bytes(8), area=area)
        assert "PostGIS" in error.value.hint


def test_postgis_takes_any_geometry_in_any_srid(postgis_database):
    with connect(postgis_database) as conn:
        boxes = [shapely.box(x, 0, x + 1, 1) for x in (0, 2, 4)]
        filled(conn, np.zeros((3, 8), np.uint8), footprints=boxes)
        two = shapely.box(0.2, 0.2, 0.4, 0.4) | shapely.box(4.2, 0.2, 4.4, 0.4)
        assert [hit.id for hit in search.similar(conn, "places", bytes(8), area=two)] == [1, 3]
        query = "SELECT id FROM dcsh.similar('places', %s::varbit, area => {})"
        for area in (
            "'POINT(2.5 0.5)'",
            "ST_SetSRID('POINT(2.5 0.5)'::geometry, 4326)",
            "ST_Transform(ST_SetSRID('POINT(2.5 0.5)'::geometry, 4326), 3857)",
        ):
            assert conn.execute(query.format(area), ["0" * 64]).fetchall() == [(2,)]


def test_sql_takes_null_and_literals(conn, random_codes):
    filled(conn, random_codes(3))
    assert conn.execute("SELECT * FROM dcsh.similar('places', NULL)").fetchall() == []
    assert conn.execute("SELECT dcsh.hamming(B'0110', x'5')").fetchone() == (2,)
    assert conn.execute("SELECT dcsh.hamming(NULL, x'5')").fetchone() == (None,)
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        conn.execute("SELECT * FROM dcsh.similar('places', x'0011223344556677', k => NULL)")


def test_a_selective_area_uses_its_index(server):
    side = 100
    cells = np.arange(side * side)
    footprints = shapely.box(cells % side, cells // side, cells % side + 1, cells // side + 1)
    filled(server, np.zeros((len(cells), 8), np.uint8), footprints=footprints)
    server.execute("SET max_parallel_workers_per_gather = 0")
    scans = """
        SELECT pg_stat_get_xact_numscans('dcsh.places'::regclass),
               pg_stat_get_xact_numscans('dcsh.places_geom_idx'::regclass)
    """
    with server.transaction():
        of_table, of_index = server.execute(scans).fetchone()
        area = shapely.box(3.2, 3.2, 3.4, 3.4)
        assert len(search.similar(server, "places", bytes(8), area=area)) == 1
        assert server.execute(scans).fetchone() == (of_table, of_index + 1)


SEARCHES = (
    "similar('places', repeat('0', 64)::varbit::bit(64), {})",
    "similar_to('places', 1, {})",
    "similar_to_examples('places', ARRAY[1,2]::bigint[], rule => 'min', {})",
    "similar_to_examples('places', ARRAY[1,2]::bigint[], rule => 'mean', {})",
)
OTHERS = (
    "within('places', repeat('0', 64)::varbit::bit(64), 9, area => {})",
    "coverage('places', area => {})",
    "near_duplicates('places', 3, {})",
    "similar_region('places', {})",
    "change('places', '[2019-01-01,2020-01-01)', '[2021-01-01,2022-01-01)', {})",
)
BAD_AREAS = {
    "polygon": [
        ("((NaN,0),(1,0),(1,1))", "out of range"),
        ("((0,0),(1,0),(1,Infinity))", "out of range"),
        ("((500000,5000000),(500100,5000000),(500100,5000100))", "out of range"),
        ("((181,0),(182,0),(182,1))", "out of range"),
    ],
    "geometry": [
        ("POLYGON EMPTY", "is empty"),
        ("POLYGON((0 0,1 1,1 0,0 1,0 0))", "not a valid geometry: Self-intersection"),
        ("POLYGON((0 0,NaN 1,1 0,0 0))", "not a valid geometry: Invalid Coordinate"),
        ("POLYGON((5e5 5e6,5.1e5 5e6,5.1e5 5.1e6,5e5 5e6))", "out of range"),
        ("SRID=4326;POLYGON((0 91,1 91,1 92,0 91))", "out of range"),
    ],
}


def test_arguments_that_can_match_nothing_are_refused(conn, random_codes):
    filled(conn, random_codes(3))
    (kind,) = conn.execute(
        "SELECT typbasetype::regtype::text FROM pg_type WHERE oid = 'dcsh.area'::regtype"
    ).fetchone()
    refused = [
        (call.format("max_distance => -1"), "max_distance must not be neg") for call in SEARCHES
    ]
    for call in (*(call.format("area => {}") for call in SEARCHES), *OTHERS):
        for area, reason in BAD_AREAS[kind]:
            refused.append((call.format(f"'{area}'::dcsh.area"), reason))
    for place in ("500, 0", "0, 91", "'NaN', 0"):
        refused.append((f"chip_at('places', {place})", "out of range"))
    for call, reason in refused:
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=reason):
            conn.execute(f"SELECT * FROM dcsh.{call}")


def test_an_area_may_reach_past_the_edge_of_the_map(conn):
    filled(conn, np.zeros((1, 8), np.uint8), footprints=[shapely.box(179, 0, 180, 1)])
    area = shapely.box(178, -95, 190, 95)
    assert [hit.id for hit in search.similar(conn, "places", bytes(8), area=area)] == [1]

"""Searches by the native index: the same answers as without it, and used where it pays."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from dcsh_pg.database.archives.plan import search_plan
from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound, ServerError
from dcsh_pg.evaluation.recall import measure_recall

DAY = datetime(2021, 6, 1, tzinfo=timezone.utc)
SIDE = 150


@pytest.fixture
def conn(any_hamming):
    with connect(any_hamming) as opened:
        yield opened


def plain(hits):
    """Hits without the share of random pairs, which is counted anew when a load ends."""
    return [replace(hit, pair_share=None) for hit in hits]


def similar(*asked, **conditions):
    return plain(search.similar(*asked, **conditions))


def filled(conn, codes, *, footprints=None, bits=64, name="places"):
    """An archive whose chips come from ten scenes, a day apart; without index."""
    if any(archive.name == name for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, name)
    loader = Loader(conn, new_archive(conn, name, bits))
    for n, part in enumerate(np.array_split(np.arange(len(codes)), 10)):
        scene = Scene(f"{name}/{n}", acquired=DAY + timedelta(days=n))
        add(loader, scene, codes[part], None if footprints is None else footprints[part])
    loader.flush()
    return loader


def grid():
    """Footprints side by side in a square of degrees."""
    cells = np.arange(SIDE * SIDE)
    x, y = 10 * (cells % SIDE) / SIDE, 10 * (cells // SIDE) / SIDE
    return shapely.box(x, y, x + 10 / SIDE, y + 10 / SIDE)


def clustered(count, bits=64, seed=0):
    random = np.random.default_rng(seed)
    centres = random.integers(0, 256, (count // 100 + 1, bits // 8), dtype=np.uint8)
    noise = np.packbits(random.random((count, bits)) < 0.08, axis=-1)
    return centres[random.integers(0, len(centres), count)] ^ noise


def all_answers(conn, query, k, radius, filters):
    answers = []
    for given_filter in filters:
        answers += [
            similar(conn, "places", query, k=k, **given_filter),
            similar(conn, "places", query, k=k, max_distance=radius, **given_filter),
            plain(search.similar_to(conn, "places", 1, k=k, **given_filter)),
            plain(search.within(conn, "places", query, radius, **given_filter)),
        ]
    return answers


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    codes=arrays(np.uint8, st.tuples(st.integers(1, 60), st.just(2)), elements=st.integers(0, 7)),
    k=st.integers(1, 70),
    radius=st.integers(0, 16),
    forced=st.booleans(),
)
def test_answers_are_the_same_with_and_without_it(conn, codes, k, radius, forced):
    corners = np.arange(len(codes)) % 7
    loader = filled(conn, codes, bits=16, footprints=shapely.box(corners, 0, corners + 1.5, 1))
    conn.execute(f"SET enable_seqscan = {'off' if forced else 'on'}")
    filters = [
        {},
        {"area": shapely.box(2.2, 0.2, 3.1, 0.4)},
        {"since": DAY + timedelta(days=2), "until": DAY + timedelta(days=7)},
        {"area": shapely.box(-1, -1, 9, 9), "until": DAY + timedelta(days=4)},
    ]
    query = codes[0].tobytes()
    without = all_answers(conn, query, k, radius, filters)
    loader.finish()
    assert all_answers(conn, query, k, radius, filters) == without
    distances = sorted(packed.hamming(codes, codes[:1])[:, 0])
    assert [hit.distance for hit in without[0]] == distances[:k]


class Scans:
    """Counts scans of indexes within a transaction."""

    def __init__(self, conn):
        self.conn = conn

    def of(self, index):
        return self.conn.execute(
            "SELECT pg_stat_get_xact_numscans(%s::regclass)", [f"dcsh.{index}"]
        ).fetchone()[0]


@pytest.mark.parametrize("k", [17_895_698, 2**31 - 1])
def test_any_k_under_a_condition(conn, k):
    loader = filled(conn, clustered(400))
    query = clustered(1, seed=3).tobytes()
    later = {"since": DAY + timedelta(days=4)}
    without = similar(conn, "places", query, k=k, **later)
    loader.finish()
    assert len(without) == 240
    assert similar(conn, "places", query, k=k, **later) == without


def test_it_is_chosen_where_it_pays_and_the_index_on_footprints_where_that_does(conn):
    codes, footprints = clustered(SIDE * SIDE), grid()
    loader = filled(conn, codes, footprints=footprints)
    half = {"area": shapely.box(0, 0, 10, 5)}
    small = {"area": shapely.box(3, 3, 3.3, 3.3)}
    days = {"since": DAY + timedelta(days=2), "until": DAY + timedelta(days=8)}
    filters = [{}, half, small, days, half | days]
    query = codes[5].tobytes()
    without = all_answers(conn, query, 10, 6, filters)
    before = search_plan(conn, registry.get_archive(conn, "places"))
    assert (before.uses, before.fix) == ("sequential scan", "dcsh-pg archive index places")
    loader.finish()
    conn.execute("ANALYZE dcsh.places")
    plan = search_plan(conn, registry.get_archive(conn, "places"))
    assert (plan.uses, plan.fix) == ("index", None)
    assert all_answers(conn, query, 10, 6, filters) == without
    with conn.transaction():
        scans = Scans(conn)
        for given_filter in ({}, half, days, half | days):
            asked = scans.of("places_code_idx")
            similar(conn, "places", query, **given_filter)
            search.within(conn, "places", query, 6, **given_filter)
            assert scans.of("places_code_idx") >= asked + 2, given_filter
        asked, of_area = scans.of("places_code_idx"), scans.of("places_geom_idx")
        similar(conn, "places", query, **small)
        assert scans.of("places_code_idx") == asked
        assert scans.of("places_geom_idx") == of_area + 1


def test_at_most_so_many_selected_rows_are_searched_to_the_very_chip(conn):
    codes = clustered(50)
    filled(conn, codes).finish()
    distances = packed.hamming(codes, codes[:1])[:, 0].tolist()
    nearest = sorted(zip(distances, range(1, 51), strict=True))
    near = [(distance, id) for distance, id in nearest if distance <= 8]

    def selected(k, most, max_distance=None, other_than=None):
        is_null, found = conn.execute(
            "SELECT s.hits IS NULL, ARRAY(SELECT (n.distance, n.id) FROM unnest(s.hits) n)"
            " FROM (SELECT dcsh_private.search_selected('places', 'dcsh.hamming_nearest',"
            " 'dcsh.places_code_idx', dcsh.code_of('places', 1), %s, %s,"
            " ROW(NULL, '-infinity', NULL, %s, NULL, %s::bigint[])::dcsh_private.filter) AS hits) s",
            [k, most, max_distance, other_than],
        ).fetchone()
        return None if is_null else [(int(distance), int(id)) for distance, id in found]

    assert selected(7, 50) == nearest[:7] and selected(7, 49) is None
    assert selected(70, 50) == selected(None, 50) == nearest and selected(70, 49) is None
    assert selected(None, 50, 8) == near and selected(None, 49, 8) is None
    assert selected(7, 50, -1) == [] and selected(7, 49, -1) is None
    # The indexes may return rows that the filter rejects.
    even = [(distance, id) for distance, id in nearest if id % 2 == 0]
    assert selected(20, 50, other_than=list(range(1, 51, 2))) == even[:20]
    last = [row for row in nearest if row[1] == 50]
    assert selected(20, 50, other_than=list(range(1, 50))) == last
    assert selected(20, 50, other_than=list(range(1, 51))) == []


def test_without_the_function_that_selects_rows_it_walks(conn):
    """As with a library that is older than the functions of the schema."""
    codes, footprints = clustered(2000), grid()[:2000]
    filled(conn, codes, footprints=footprints).finish()
    small = {"area": shapely.box(0, 0, 3, 0.3)}
    expected = all_answers(conn, codes[5].tobytes(), 10, 6, [small])
    conn.execute("ALTER EXTENSION dcsh_hamming DROP FUNCTION dcsh.hamming_nearest")
    conn.execute("DROP FUNCTION dcsh.hamming_nearest")
    assert all_answers(conn, codes[5].tobytes(), 10, 6, [small]) == expected


def test_it_keeps_up_with_what_comes_and_goes(conn):
    codes = clustered(3000)
    loader = filled(conn, codes[:2000])
    loader.finish()
    add(loader, Scene("later", acquired=DAY), codes[2000:])
    loader.flush()
    registry.remove_scene(conn, "places", "places/3")
    conn.execute("SET enable_seqscan = off")
    conn.execute("VACUUM dcsh.places")
    ids = [id for (id,) in conn.execute("SELECT id FROM dcsh.places ORDER BY id")]
    distances = packed.hamming(codes[np.array(ids) - 1], codes[:1])[:, 0]
    expected = sorted(zip(distances.tolist(), ids, strict=True))[:500]
    hits = similar(conn, "places", codes[0].tobytes(), k=500)
    assert [(hit.distance, hit.id) for hit in hits] == expected
    conn.execute("SELECT dcsh.hamming_check('dcsh.places_code_idx')")


def test_it_is_made_once_dropped_and_mended(conn):
    filled(conn, clustered(200))
    conn.execute("SET search_path = public")
    assert registry.create_code_index(conn, "places") == "dcsh.places_code_idx"
    assert registry.create_code_index(conn, "places") == "dcsh.places_code_idx"
    conn.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'dcsh.places_code_idx'::regclass"
    )
    assert search_plan(conn, registry.get_archive(conn, "places")).index is None
    registry.create_code_index(conn, "places")
    plan = search_plan(conn, registry.get_archive(conn, "places"))
    assert plan.index == "dcsh.places_code_idx"
    assert registry.drop_code_index(conn, "places") and not registry.drop_code_index(conn, "places")
    with pytest.raises(NotFound):
        registry.create_code_index(conn, "palaces")


def test_an_approximate_index_beside_it_is_never_used(conn):
    codes = clustered(2000)
    loader = filled(conn, codes)
    query = codes[0].tobytes()
    without = similar(conn, "places", query, k=300)
    loader.finish()
    conn.execute("CREATE INDEX rough ON dcsh.places USING ivfflat (code bit_hamming_ops)")
    conn.execute("SET enable_seqscan = off")
    conn.execute("SET search_path = public")
    assert similar(conn, "places", query, k=300) == without
    plan = search_plan(conn, registry.get_archive(conn, "places"))
    assert plan.uses == "sequential scan" and "DROP INDEX dcsh.rough" in plan.fix


@pytest.mark.parametrize("what", ["(code) WHERE id < 100", "(((~code)::bit(64)))"])
def test_an_index_on_some_or_other_codes_is_not_taken_for_it(conn, what):
    codes = clustered(2000)
    filled(conn, codes)
    given = {"since": DAY + timedelta(days=8)}
    without = similar(conn, "places", codes[0].tobytes(), k=300, **given)
    conn.execute(f"CREATE INDEX other ON dcsh.places USING hamming {what}")
    conn.execute("ANALYZE dcsh.places")
    assert similar(conn, "places", codes[0].tobytes(), k=300, **given) == without
    made = registry.create_code_index(conn, "places")
    assert "places_code_idx" in made
    assert similar(conn, "places", codes[0].tobytes(), k=300, **given) == without
    assert search_plan(conn, registry.get_archive(conn, "places")).index == made


def test_extensions_may_live_in_any_schema(hamming, dsn):
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA odd; CREATE EXTENSION vector SCHEMA odd; DROP SCHEMA public")
    migrate.upgrade(dsn)
    with connect(dsn) as conn:
        codes = clustered(2000)
        loader = filled(conn, codes)
        without = similar(conn, "places", codes[0].tobytes(), k=300)
        loader.finish()
        conn.execute("SET enable_seqscan = off")
        assert search_plan(conn, registry.get_archive(conn, "places")).uses == "index"
        assert similar(conn, "places", codes[0].tobytes(), k=300) == without
        (point,) = measure_recall(conn, "places", "hamming", queries=3).points
        assert point.recall == 1


def test_a_database_without_it_says_what_to_do(hamming):
    with psycopg.connect(hamming, autocommit=True) as admin:
        admin.execute("DROP EXTENSION dcsh_hamming")
    with connect(hamming) as conn:
        filled(conn, clustered(20)).finish()
        plan = search_plan(conn, registry.get_archive(conn, "places"))
        assert (plan.uses, plan.index, plan.fix) == ("sequential scan", None, None)
        with pytest.raises(ServerError, match="no access method") as error:
            registry.create_code_index(conn, "places")
        assert "dcsh-pg native install" in error.value.hint


def test_a_snapshot_older_than_the_index_is_searched_without_it(hamming):
    """Its catalog still names an index that another session has dropped or replaced."""
    codes = clustered(300)
    with connect(hamming) as conn, connect(hamming) as other:
        filled(conn, codes).finish()
        filters = {"since": DAY + timedelta(days=3), "k": 5}
        expected = similar(conn, "places", codes[0].tobytes(), **filters)
        for again in (False, True):
            with conn.transaction():
                conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                conn.execute("SELECT 1")
                registry.drop_code_index(other, "places")
                if again:
                    registry.create_code_index(other, "places")
                found = similar(conn, "places", codes[0].tobytes(), **filters)
            assert found == expected
            registry.create_code_index(other, "places")


def test_of_sessions_that_make_the_index_at_once_one_makes_it(hamming):
    query = "SELECT dcsh.create_code_index('places')::text"
    with connect(hamming) as conn, connect(hamming) as other:
        new_archive(conn, "places")
        with ThreadPoolExecutor(1) as pool:
            with conn.transaction():
                made = conn.execute(query).fetchone()
                late = pool.submit(other.execute, query)
                waiting = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
                with psycopg.connect(hamming, autocommit=True) as watch:
                    while not (
                        late.done() or watch.execute(waiting, [other.info.backend_pid]).fetchall()
                    ):
                        pass
            assert late.result().fetchone() == made
        query = "SELECT count(*) FROM dcsh_private.hamming_indexes('places')"
        assert conn.execute(query).fetchone() == (1,)

"""Distributing an archive over a Citus cluster, and undistributing it.

That searches, loads and layers work on a distributed archive is tested where they are tested on one
server, with the fixture ``any_deployment``.
"""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone

import numpy as np
import psycopg
import pytest
import searching as search
import shapely
from citus_cluster import worker_dsns
from psycopg.conninfo import make_conninfo
from synthetic import Scene, add, new_archive, rows
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.database.archives import distributed, registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.archives.plan import search_plan
from dcsh_pg.database.server import migrate, rights
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound, ServerError
from dcsh_pg.progress import Progress

CODES = np.random.default_rng(0).integers(0, 256, (600, 8), dtype=np.uint8)
BOXES = [shapely.box(n % 30, n // 30, n % 30 + 1, n // 30 + 1) for n in range(len(CODES))]
AREA = shapely.box(3.5, 2.5, 9.5, 8.5)


@pytest.fixture
def conn(citus_cluster):
    """To a coordinator, with archive places, which is not distributed."""
    with connect(citus_cluster) as opened:
        loader = Loader(opened, new_archive(opened, "places"))
        for n in range(6):
            part = slice(100 * n, 100 * n + 100)
            add(loader, Scene(f"{n}.tif"), CODES[part], BOXES[part])
        loader.flush()
        loader.finish()
        yield opened
    with connect(citus_cluster) as fresh:
        if registry.list_archives(fresh):
            registry.drop_archive(fresh, "places")
        fresh.execute("DELETE FROM dcsh.model")


def described(conn):
    """Comments, grants and columns of the archive's table and of its layer."""
    return conn.execute(
        """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), c.relacl::text,
               col_description(c.oid, a.attnum), obj_description(c.oid)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.oid IN ('dcsh.places'::regclass, 'dcsh.places_layer'::regclass) AND a.attnum > 0
        ORDER BY 1, 2
        """
    ).fetchall()


def answers(conn):
    query = CODES[7].tobytes()
    return [
        search.similar(conn, "places", query, k=20),
        search.similar(conn, "places", query, k=20, area=AREA, max_distance=28),
        search.similar_to(conn, "places", 11, k=5),
        search.within(conn, "places", query, 24),
        search.within(conn, "places", query, 30, area=AREA),
        search.within(conn, "places", query, 64),
    ]


def test_distributing_and_back_keeps_rows_answers_comments_and_grants(conn):
    conn.execute("GRANT SELECT ON dcsh.places, dcsh.places_layer TO pg_monitor WITH GRANT OPTION")
    stored, found, before = rows(conn, "places"), answers(conn), described(conn)
    assert distributed.distribute(conn, "places", shards=5) == 5
    assert sum(distributed.workers(conn, "places").values()) == 5
    assert len(distributed.workers(conn, "places")) > 1
    assert conn.execute("SELECT pg_relation_size('dcsh.places')").fetchone() == (0,)
    assert rows(conn, "places") == stored
    assert answers(conn) == found
    assert distributed.undistribute(conn, "places") is True
    assert distributed.workers(conn, "places") == {}
    assert distributed.undistribute(conn, "places") is False
    assert rows(conn, "places") == stored
    assert answers(conn) == found
    assert described(conn) == before


def test_an_area_is_searched_with_the_index_on_codes_or_on_footprints(conn):
    """The half of the bounds that lies outside the area has the nearest chips."""
    conn.execute(
        "UPDATE dcsh.places SET acquired = '2024-05-04'::timestamptz + id * interval '1 day'"
    )
    area = shapely.Polygon([(3.5, 2.5), (12.5, 2.5), (12.5, 11.5)])
    outside = shapely.box(3.5, 2.5, 12.5, 11.5) - area.buffer(1)
    near = [n + 1 for n, box in enumerate(BOXES) if outside.intersects(box)]
    conn.execute("UPDATE dcsh.places SET code = ~code WHERE id = ANY (%s)", [near])
    query = bytes(~byte & 255 for byte in CODES[near[0] - 1])
    since = datetime(2024, 8, 3, tzinfo=timezone.utc)
    whole = shapely.box(-1, -1, 40, 40)

    def found():
        return [
            search.similar(conn, "places", code, k=k, area=where, since=since, max_distance=reach)
            for code in (query, CODES[7].tobytes())
            for k in (1, 5, 30, 600)
            for where in (area, whole, None)
            for reach in (None, 28)
        ]

    def selects_few(predicate):
        few = "SELECT dcsh_private.shards_select_few('places', %s, 1)"
        return conn.execute(few, [predicate]).fetchone()[0]

    expected = found()
    distributed.distribute(conn, "places", shards=3)
    assert found() == expected
    conn.execute("ANALYZE dcsh.places")
    assert (selects_few("c.id <= 9"), selects_few("c.id <= 599")) == (True, False)
    assert found() == expected


def test_times_are_understood_whatever_the_date_style(conn):
    """Citus sends times as the session shows them: is 04/05/2024 the fourth of May?"""
    conn.execute(
        "UPDATE dcsh.places SET acquired = '2024-05-04'::timestamptz + id * interval '1 day'"
    )
    conn.execute("UPDATE dcsh.places c SET geom = e.geom FROM dcsh.places e WHERE e.id = c.id - 90")
    since, until = (
        datetime(2024, 8, 3, tzinfo=timezone.utc),
        datetime(2025, 2, 1, tzinfo=timezone.utc),
    )
    period = "since => %(since)s, until => %(until)s"
    queries = [
        f"SELECT id FROM dcsh.similar_to('places', 11, k => 600, {period})",
        f"SELECT id FROM dcsh.within('places', dcsh.code_of('places', 11), 64, {period})",
        f"SELECT id FROM dcsh.similar_to_examples('places', ARRAY[11], k => 600, {period})",
        f"SELECT id FROM dcsh.similar_to_examples('places', ARRAY[11], k => 600, rule => 'rocchio', {period})",
        f"SELECT id FROM dcsh.near_duplicates('places', 22, {period})",
        "SELECT id FROM dcsh.change('places', tstzrange(NULL, %(since)s), tstzrange(%(since)s, %(until)s))",
        f"SELECT chips FROM dcsh.coverage('places', cell => 5, {period})",
        f"SELECT id FROM dcsh_private.chips('places', {period})",
        f"SELECT chips FROM dcsh.similarity_surface('places', ARRAY[dcsh.code_of('places', 11)]::bit varying[], 4, {period})",
        f"SELECT chips FROM dcsh.distance_histogram('places', ARRAY[dcsh.code_of('places', 11)]::bit varying[], {period})",
        "SELECT dcsh.tiles(0, 0, 0, json_build_object('archive', 'places', 'since', %(since)s, 'until', %(until)s))",
    ]

    def found():
        return [
            conn.execute(query, {"since": since, "until": until}).fetchall() for query in queries
        ]

    expected = found()
    assert all(expected)
    distributed.distribute(conn, "places", shards=3)
    assert found() == expected
    conn.execute("SET datestyle = 'SQL, DMY'")
    for query, rows_before, rows_now in zip(queries, expected, found(), strict=True):
        assert rows_now == rows_before, query


def test_a_function_that_searches_and_writes_is_one_transaction(conn):
    distributed.distribute(conn, "places", shards=3)
    conn.execute("CREATE TABLE note (id bigint)")
    conn.execute("SELECT create_distributed_table('note', 'id')")
    conn.execute(
        """
        CREATE FUNCTION note() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO note SELECT id FROM dcsh.similar_to('places', 11, area => NULL, since => '2020-01-01');
            INSERT INTO note SELECT id FROM dcsh.similar_to('places', 11);
            RAISE division_by_zero;
        END $$
        """
    )
    try:
        with pytest.raises(psycopg.errors.DivisionByZero):
            conn.execute("SELECT note()")
        assert conn.execute("SELECT count(*) FROM note").fetchone() == (0,)
    finally:
        conn.execute("DROP FUNCTION note")
        conn.execute("DROP TABLE note")


def test_an_upgrade_of_a_cluster_shows_no_warnings(conn):
    distributed.distribute(conn, "places")
    notes = []

    class Notes(Progress):
        def note(self, text):
            notes.append(text)

    migrate.upgrade(conn.info.dsn, progress=Notes())
    assert len(notes) == 1 and "up to date" in notes[0]


def test_one_shard_per_worker_and_safe_to_repeat(conn):
    workers = len(worker_dsns(conn.info.dsn))
    assert distributed.distribute(conn, "places") == workers
    assert distributed.distribute(conn, "places") == workers
    with pytest.raises(ServerError, match="already distributed") as refused:
        distributed.distribute(conn, "places", shards=workers + 1)
    assert "undistribute" in refused.value.hint
    with pytest.raises(NotFound):
        distributed.distribute(conn, "nowhere")


def test_the_index_is_created_and_dropped_on_every_shard_and_with_the_archive(conn):
    def shards():
        found = []
        for worker in worker_dsns(conn.info.dsn):
            with psycopg.connect(worker) as there:
                there.execute("SET citus.show_shards_for_app_name_prefixes = '*'")
                found += there.execute(
                    "SELECT c.relname, m.amname = 'hamming' FROM pg_class c JOIN pg_am m"
                    " ON m.oid = c.relam WHERE c.relname ~ '^places_[0-9]+$'"
                    " OR c.relname ~ '^places_code_idx_[0-9]+$' ORDER BY 1"
                ).fetchall()
        return [is_index for _, is_index in found]

    if not conn.execute("SELECT dcsh_private.has_hamming()").fetchone()[0]:
        pytest.skip("no native index on the cluster")
    found, record = answers(conn), registry.get_archive(conn, "places")
    distributed.distribute(conn, "places", shards=3)
    assert sorted(shards()) == 3 * [False] + 3 * [True]
    assert registry.drop_code_index(conn, "places") is True
    assert shards() == 3 * [False]
    assert search_plan(conn, record).fix == "dcsh-pg archive index places"
    assert answers(conn) == found
    assert registry.create_code_index(conn, "places") == "dcsh.places_code_idx"
    assert sorted(shards()) == 3 * [False] + 3 * [True]
    assert search_plan(conn, record).index == "dcsh.places_code_idx"
    assert answers(conn) == found
    registry.drop_archive(conn, "places")
    assert shards() == []


def test_a_query_that_waited_for_undistribute_fails_and_succeeds_when_repeated(conn):
    """Its snapshot is older than the rows of the new table."""
    queries = [
        "dcsh.similar_to('places', 11)",
        "dcsh.within('places', dcsh.code_of('places', 11), 64)",
        "dcsh.similar_to_examples('places', ARRAY[11])",
        "dcsh.near_duplicates('places', 20)",
        "dcsh.chip_at('places', 3.5, 3.5)",
        "dcsh.coverage('places', cell => 5)",
        "dcsh.frequent_codes('places')",
        "dcsh_private.chips('places')",
    ]

    def answer(query):
        with connect(conn.info.dsn) as other:
            return other.execute(f"SELECT a::text FROM {query} a").fetchall()

    def answer_or_error(query):
        try:
            return answer(query)
        except psycopg.errors.SerializationFailure as error:
            assert "was replaced while it was read" in str(error)
            return error.diag.message_hint

    distributed.distribute(conn, "places")
    found = [answer(query) for query in queries]
    with ThreadPoolExecutor(len(queries)) as threads:
        with conn.transaction():
            distributed.undistribute(conn, "places")
            waiting = [threads.submit(answer_or_error, query) for query in queries]
            with connect(conn.info.dsn) as observer:
                blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = ("
                blocked += "SELECT oid FROM pg_database WHERE datname = current_database())"
                while observer.execute(blocked).fetchone()[0] < len(queries):
                    time.sleep(0.01)
        assert [one.result() for one in waiting] == len(queries) * ["repeat the query"]
    assert [answer(query) for query in queries] == found


@contextmanager
def half_committed(conn, scene):
    """Chips of a scene as a crash between the phases of their commit leaves them: committed on the
    coordinator, prepared on a worker, where they are not visible."""
    group, node, port, shard = conn.execute(
        """
        SELECT groupid, n.nodename, n.nodeport, shardid
        FROM pg_dist_shard JOIN pg_dist_placement USING (shardid) JOIN pg_dist_node n USING (groupid)
        WHERE logicalrelid = 'dcsh.places'::regclass ORDER BY shardid LIMIT 1
        """
    ).fetchone()
    gid = f"citus_0_{2**31 - 1}_{uuid.uuid4().int % 10**9}_0"
    worker = make_conninfo(conn.info.dsn, host=node, port=port)
    with psycopg.connect(worker, autocommit=True) as there:
        there.execute("SET citus.enable_manual_changes_to_shards = on")
        there.execute("BEGIN")
        there.execute(
            f"INSERT INTO dcsh.places_{shard} SELECT id + 10000, {scene}, col_off, row_off, width,"
            f" height, geom, acquired, valid_fraction, code FROM dcsh.places_{shard} LIMIT 5"
        )
        there.execute(f"PREPARE TRANSACTION '{gid}'")
    conn.execute("UPDATE dcsh.scene SET chips = chips + 5 WHERE id = %s", [scene])
    conn.execute("INSERT INTO pg_dist_transaction (groupid, gid) VALUES (%s, %s)", [group, gid])
    try:
        yield
    finally:
        conn.execute("SELECT recover_prepared_transactions()")


def test_no_chips_of_an_unfinished_commit_remain(conn):
    """Whoever removes, replaces or moves what is not visible yet would double or lose it."""
    distributed.distribute(conn, "places", shards=3)
    (scene,) = conn.execute("SELECT id FROM dcsh.scene WHERE uri = '1.tif'").fetchone()
    record = registry.get_archive(conn, "places")

    def replace():
        loader = Loader(conn, record)
        add(loader, Scene("1.tif", content_hash="new"), CODES[:3], BOXES[:3])
        assert loader.flush() == []

    steps = [
        replace,
        lambda: registry.remove_scene(conn, "places", "1.tif"),
        lambda: distributed.undistribute(conn, "places"),
    ]
    with half_committed(conn, scene):
        for step in steps:
            with pytest.raises(ServerError, match="has not finished an earlier commit") as refused:
                step()
            assert "recover_prepared_transactions" in refused.value.hint
    count = f"SELECT count(*) FROM dcsh.places WHERE scene_id = {scene}"
    assert conn.execute(count).fetchone() == (105,)
    replace()
    assert conn.execute(count).fetchone() == (3,)
    assert registry.remove_scene(conn, "places", "1.tif") == 3
    assert distributed.undistribute(conn, "places") is True
    assert conn.execute("SELECT count(*) FROM dcsh.places").fetchone() == (500,)


def test_a_view_on_pgstac_and_distribution_exclude_each_other(conn):
    conn.execute("CREATE VIEW dcsh.places_items AS SELECT 1 AS id")
    with pytest.raises(ServerError, match="places_items, which Citus cannot answer") as refused:
        distributed.distribute(conn, "places")
    assert "drop_pgstac_view('places')" in refused.value.hint
    assert conn.execute("SELECT dcsh.drop_pgstac_view('places')").fetchone() == (True,)
    distributed.distribute(conn, "places")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="is distributed"):
        conn.execute("SELECT dcsh.create_pgstac_view('places')")


def test_status_shows_the_plan_of_the_shards(conn):
    distributed.distribute(conn, "places")
    record = registry.get_archive(conn, "places")
    plan = search_plan(conn, record)
    assert plan.uses == ("sequential scan" if plan.index is None else "index")


def test_a_load_that_loses_a_worker_stores_nothing_and_can_be_repeated(conn):
    distributed.distribute(conn, "places")
    before = rows(conn, "places")
    loader = Loader(conn, registry.get_archive(conn, "places"))
    add(loader, Scene("new.tif"), CODES[:50], BOXES[:50])
    with pytest.raises((ServerError, psycopg.OperationalError)), conn.transaction():
        loader.flush()
        for worker in worker_dsns(conn.info.dsn):
            with psycopg.connect(worker, autocommit=True) as there:
                there.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name ~ '^citus_internal'"
                )
        conn.execute("SELECT count(*) FROM dcsh.places")
    with connect(conn.info.dsn) as fresh:
        assert rows(fresh, "places") == before
        again = Loader(fresh, registry.get_archive(fresh, "places"))
        add(again, Scene("new.tif"), CODES[:50], BOXES[:50])
        again.flush()
        assert len(rows(fresh, "places")) == len(before) + 50


@pytest.fixture
def role(conn):
    """Makes roles on all nodes, of this test's own; gives their DSNs."""
    made = []

    def make(name, **rights_of):
        name = f"{name}_{conn.info.dbname}"
        conn.execute(f"CREATE ROLE {name} LOGIN")
        made.append(name)
        rights.grant(conn, name, **rights_of)
        return name, make_conninfo(conn.info.dsn, user=name)

    yield make
    for name in made:
        conn.execute(f"DROP OWNED BY {name}")
        conn.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize("granted", ["before", "after"])
def test_roles_search_and_load_a_distributed_archive(conn, role, granted):
    if granted == "after":
        distributed.distribute(conn, "places", shards=3)
    _, reader_dsn = role("reader")
    _, writer_dsn = role("writer", write=True)
    distributed.distribute(conn, "places", shards=3)
    found = answers(conn)
    with connect(reader_dsn) as reader:
        assert answers(reader) == found
        with pytest.raises((ServerError, psycopg.errors.InsufficientPrivilege)):
            reader.execute("DELETE FROM dcsh.places")
    with connect(writer_dsn) as other:
        loader = Loader(other, registry.get_archive(other, "places"))
        add(loader, Scene("6.tif"), CODES[:50], BOXES[:50])
        assert loader.flush() == []
        assert registry.remove_scene(other, "places", "6.tif") == 50
        other.execute("SELECT dcsh_private.store_pair_distances('places')")
        assert answers(other) == found


@pytest.mark.parametrize("made", ["before", "after"])
def test_policies_hold_on_the_shards(conn, role, made):
    if made == "after":
        distributed.distribute(conn, "places", shards=3)
    reader, dsn = role("reader")
    conn.execute("ALTER TABLE dcsh.places ENABLE ROW LEVEL SECURITY")
    conn.execute(f"CREATE POLICY first ON dcsh.places TO {reader} USING (id <= 100)")
    distributed.distribute(conn, "places", shards=3)
    with connect(dsn) as other:
        seen = search.similar(other, "places", CODES[7].tobytes(), k=600)
        assert sorted(hit.id for hit in seen) == list(range(1, 101))
        assert other.execute("SELECT count(*) FROM dcsh.places_layer").fetchone() == (100,)
    distributed.undistribute(conn, "places")
    with connect(dsn) as other:
        assert search.similar(other, "places", CODES[7].tobytes(), k=600) == seen


def test_commands(conn):
    def output(*arguments):
        done = CliRunner().invoke(app, ["archive", *arguments, "--dsn", conn.info.dsn])
        assert done.exit_code == 0, done.output
        return done.output

    assert "3 shards on 2 workers" in output("distribute", "places", "--shards", "3")
    assert '"shards": {' in output("show", "places", "--json")
    assert "back on one server" in output("undistribute", "places")
    assert "already on one server" in output("undistribute", "places")


def test_without_citus_one_clear_error(core):
    new_archive(core, "places")
    with pytest.raises(ServerError, match="citus") as refused:
        distributed.distribute(core, "places")
    assert "coordinator" in refused.value.hint
    assert distributed.workers(core, "places") == {}

"""Archives over three servers give what one server gives, whatever happens on the way."""

import json
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import datetime, timezone

import numpy as np
import psycopg
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from shard_servers import PASSWORD, installed
from synthetic import Scene, add, new_archive, rows

from dcsh_pg.codes import hamming
from dcsh_pg.database import connection, migrate, registry, search, shards
from dcsh_pg.database.load import Loader
from dcsh_pg.database.plan import search_plan
from dcsh_pg.errors import DcshError, NotFound, SchemaError, ServerError, UsageError

BITS = 32
SCENES = 24


def day(n: int) -> datetime:
    return datetime(2021, 1, 1 + n, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def templates(three_servers, make_database):
    """Makes for a spatial layer, once, a database with the schema on each server."""
    made = {}
    with ExitStack() as databases:

        def of(layer: str) -> list[str]:
            if layer not in made:
                dsns = [databases.enter_context(make_database(admin)) for admin in three_servers]
                for dsn in dsns:
                    migrate.upgrade(dsn, spatial=layer)
                made[layer] = [conninfo_to_dict(dsn)["dbname"] for dsn in dsns]
            return made[layer]

        yield of


@pytest.fixture
def layer(request, three_servers) -> str:
    """The spatial layer: that which the test asks for, or the one that users have."""
    asked = getattr(request, "param", None)
    postgis = installed("postgis") == installed("postgres_fdw")
    if asked == "postgis" and not postgis:
        pytest.skip("the servers have no PostGIS: .ci/postgis installs it")
    return asked or ("postgis" if postgis else "core")


both_layers = pytest.mark.parametrize("layer", ["core", "postgis"], indirect=True)


@pytest.fixture
def databases(three_servers, templates, layer, make_database):
    """The archives' own database and three for shards, one of them on the same server."""
    with ExitStack() as made:
        pairs = [*zip(three_servers, templates(layer), strict=True)]
        yield [made.enter_context(make_database(*pair)) for pair in [pairs[0], *pairs]]


@pytest.fixture
def conn(databases):
    with connection.connect(databases[0]) as opened:
        yield opened


@pytest.fixture
def places(databases):
    """DSNs of the databases for shards."""
    return databases[1:]


def scene(archive: str, n: int, version: str = "") -> Scene:
    return Scene(f"{archive}/{n}.tif", content_hash=f"{n}{version}", acquired=day(n % 7))


def load(conn, archive: str, scenes=range(SCENES), *, version: str = "", seed: int = 0) -> None:
    """Loads scenes of 0 to 9 chips with few different codes, so that many distances are equal."""
    loader = Loader(conn, registry.get_archive(conn, archive))
    for n in scenes:
        random = np.random.default_rng([seed, n])
        codes = random.choice(
            np.array([0, 1, 3, 128], np.uint8), (random.integers(0, 10), BITS // 8)
        )
        x = n % 12
        feet = [shapely.box(x, i, x + 1, i + 1.5) for i in range(len(codes))]
        add(loader, scene(archive, n, version), codes, feet if n % 5 else None)
        if n % 10 == 9:
            loader.flush()
    loader.flush()
    loader.finish()


def both(conn, places, **how) -> None:
    """The same scenes as archive 'one', on one server, and 'many', on three."""
    for archive in ("one", "many"):
        new_archive(conn, archive, BITS)
        load(conn, archive)
    shards.shard(conn, "many", places, **how)


def same(conn) -> list[tuple]:
    """All rows of archive 'one', after looking that 'many' has the same, but for the ids of scenes."""
    one, many = (
        [(row[0], *row[2:], row[-5].rpartition("/")[2]) for row in rows(conn, archive)]
        for archive in ("one", "many")
    )
    without_uri = [[row[:-6] + row[-5:] for row in table] for table in (one, many)]
    assert without_uri[0] == without_uri[1]
    assert len(one) >= SCENES // 2
    return one


def told(hits) -> list[tuple]:
    return [(h.id, h.distance, h.window, h.footprint, h.acquired, h.valid_fraction) for h in hits]


@both_layers
@pytest.mark.parametrize("by", ["scene", "chip"])
def test_every_search_gives_the_rows_of_one_server(conn, places, by):
    both(conn, places, by=by)
    same(conn)
    stored = conn.execute("SELECT id, substr(bit_send(code), 5) FROM dcsh.one ORDER BY id")
    ids, codes = zip(*stored, strict=True)
    codes = np.frombuffer(b"".join(codes), np.uint8).reshape(len(ids), -1)

    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        code=st.binary(min_size=BITS // 8, max_size=BITS // 8),
        chip=st.sampled_from(ids),
        k=st.sampled_from([1, 2, 7, 40, 1000]),
        radius=st.integers(0, BITS),
        box=st.none() | st.tuples(st.integers(0, 12), st.integers(0, 6)),
        since=st.none() | st.integers(0, 7),
        until=st.none() | st.integers(0, 7),
        bound=st.none() | st.integers(0, BITS),
    )
    def check(code, chip, k, radius, box, since, until, bound):
        filters = {
            "area": None if box is None else shapely.box(*box, box[0] + 5, box[1] + 2),
            "since": None if since is None else day(since),
            "until": None if until is None else day(until),
        }
        nearest = {"k": k, "max_distance": bound, **filters}
        one, many = (told(search.similar(conn, a, code, **nearest)) for a in ("one", "many"))
        assert one == many
        if filters == dict.fromkeys(filters) and bound is None:
            distances = hamming(codes, np.frombuffer(code, np.uint8))[:, 0]
            order = np.lexsort((ids, distances))[:k]
            assert [hit[:2] for hit in many] == [(ids[i], distances[i]) for i in order]
        one, many = (told(search.similar_to(conn, a, chip, **nearest)) for a in ("one", "many"))
        assert one == many
        one, many = (told(search.within(conn, a, code, radius, **filters)) for a in ("one", "many"))
        assert one == many

    check()


QUESTIONS = (
    "SELECT dcsh.code_of('many', 17)",
    "SELECT dcsh.chip_at('many', 3.5, 1.2), dcsh.chip_at('many', 300, 1)",
    "SELECT * FROM dcsh.extent('many')",
    "SELECT * FROM dcsh.similar_to_examples('many', ARRAY[3, 5], ARRAY[9], k => 20)",
    "SELECT * FROM dcsh.similar_to_examples('many', ARRAY[3, 5], k => 20, rule => 'mean')",
    "SELECT * FROM dcsh.similar_region('many', dcsh._place(3.5, 1.2), k => 20)",
    "SELECT * FROM dcsh.near_duplicates('many', 1)",
    "SELECT * FROM dcsh.change('many', '[2021-01-01,2021-01-03)', '[2021-01-04,2021-01-08)')",
    "SELECT * FROM dcsh.bit_statistics('many')",
    "SELECT * FROM dcsh.code_statistics('many')",
    "SELECT * FROM dcsh.frequent_codes('many')",
    "SELECT * FROM dcsh.coverage('many', cell => 2, every => 'day')",
    "SELECT * FROM dcsh.many_layer ORDER BY id",
)


@both_layers
def test_everything_else_gives_the_rows_of_one_server(conn, places):
    new_archive(conn, "many", BITS)
    load(conn, "many")
    before = {ask: conn.execute(ask).fetchall() for ask in QUESTIONS}
    record = registry.get_archive(conn, "many")
    shards.shard(conn, "many", places)
    for ask, answer in before.items():
        assert answer and conn.execute(ask).fetchall() == answer, ask
    assert registry.get_archive(conn, "many") == record
    assert search_plan(conn, record).uses.startswith("3 servers")
    found = shards.shards(conn, "many")
    assert [s.shard for s in found] == [1, 2, 3] and all(s.chips for s in found)
    assert sum(s.chips for s in found) == record.chips
    with pytest.raises(NotFound, match="no chip 100000"):
        search.code_of(conn, "many", 100_000)


def test_an_upgrade_of_the_schema_leaves_shards_as_they_are(conn, databases, places):
    both(conn, places)
    for database in databases:
        migrate.upgrade(database)
    same(conn)
    assert len(shards.shards(conn, "many")) == 3 and shards.shards(conn, "one") == []


def test_a_scene_lies_on_one_shard_or_on_all(conn, places):
    both(conn, places)
    spread = "SELECT max(parts) FROM (SELECT count(DISTINCT tableoid) parts FROM dcsh.many GROUP BY scene_id) s"
    assert conn.execute(spread).fetchone() == (1,)
    assert shards.unshard(conn, "many") == shards.shard(conn, "many", places, by="chip")
    assert conn.execute(spread).fetchone() == (3,)


def foreign_scans(conn, ask) -> list[dict]:
    """The scans of shards in the plan that PostgreSQL carries out when ``ask`` is called."""
    plans = []
    conn.execute(
        """
        LOAD 'auto_explain';
        SET auto_explain.log_min_duration = 0;
        SET auto_explain.log_nested_statements = on;
        SET auto_explain.log_analyze = on;
        SET auto_explain.log_verbose = on;
        SET auto_explain.log_format = json;
        SET client_min_messages = log;
        """
    )
    conn.add_notice_handler(lambda told: plans.append(told.message_primary.partition("plan:")[2]))
    ask()
    waiting = [json.loads(plan)["Plan"] for plan in plans if "Foreign Scan" in plan]
    scans = []
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        scans += [node] if node["Node Type"] == "Foreign Scan" else []
    return scans


@both_layers
@pytest.mark.parametrize("filters", [{}, {"since": day(1)}, {"max_distance": 3}])
def test_each_shard_is_asked_for_k_rows_in_order_and_all_at_once(conn, places, filters):
    both(conn, places)
    scans = foreign_scans(conn, lambda: search.similar(conn, "many", bytes(4), k=5, **filters))
    assert len(scans) == 3
    for scan in scans:
        assert scan["Async Capable"] and scan["Actual Rows"] <= 5 and "Filter" not in scan
        _, _, order = scan["Remote SQL"].partition(" ORDER BY ")
        assert "<~>" in order and ", id " in order and " LIMIT 5" in order


@both_layers
def test_what_is_not_in_the_area_does_not_travel(conn, places):
    both(conn, places)
    area = shapely.box(6, 0.1, 12, 0.2)
    found = []
    scans = foreign_scans(
        conn, lambda: found.extend(search.similar(conn, "many", bytes(4), k=100, area=area))
    )
    assert sum(scan["Actual Rows"] for scan in scans) == len(found) > 0
    assert len(scans) == 3 and not any("Filter" in scan for scan in scans)


@pytest.mark.parametrize("radius", [0, 5, BITS])
def test_only_what_is_within_a_distance_or_near_to_it_travels(conn, places, radius):
    both(conn, places)
    load(conn, "many", range(30, 130))
    found = []
    scans = foreign_scans(conn, lambda: found.extend(search.within(conn, "many", bytes(4), radius)))
    assert found
    near, within = [], []
    for scan in scans:
        (near if "ORDER BY" in scan["Remote SQL"] else within).append(scan["Actual Rows"])
    assert len(near) == 3 and max(near) <= 200
    assert within == [] if len(found) < 200 else sum(within) == len(found)


@both_layers
def test_the_shards_tell_the_extent_and_not_the_footprints(conn, places):
    both(conn, places)
    scans = foreign_scans(conn, lambda: registry.extent(conn, "many"))
    assert [scan["Actual Rows"] for scan in scans] == [1, 1, 1]
    assert all(scan["Async Capable"] and "min(" in scan["Remote SQL"] for scan in scans)


@both_layers
def test_scenes_come_change_and_go_as_on_one_server(conn, places):
    both(conn, places)
    before = same(conn)
    for archive in ("one", "many"):
        load(conn, archive, range(10, 40), version="new", seed=1)
        registry.remove_scene(conn, archive, f"{archive}/3.tif")
    assert same(conn) != before
    assert [row[0] for row in same(conn)] != [row[0] for row in before]


def refuse_commits(place: str, archive: str) -> None:
    """Has a database fail when a transaction that put chips into an archive commits."""
    with psycopg.connect(place) as there:
        there.execute(
            f"""
            CREATE TABLE public.loads ();
            CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN INSERT INTO public.loads DEFAULT VALUES; RETURN NULL; END $$;
            CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN RAISE EXCEPTION 'no commit today'; END $$;
            CREATE TRIGGER note AFTER INSERT ON dcsh.{archive}
                FOR EACH STATEMENT EXECUTE FUNCTION public.note();
            CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON public.loads
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.refuse();
            """
        )


def allow_commits(place: str) -> None:
    with psycopg.connect(place) as there:
        there.execute("DROP TABLE public.loads; DROP FUNCTION public.note, public.refuse CASCADE")


def chips_at(places, archive: str) -> list[int]:
    counts = []
    for place in places:
        with psycopg.connect(place) as there:
            counts.append(there.execute(f"SELECT count(*) FROM dcsh.{archive}").fetchone()[0])
    return counts


def test_a_shard_that_fails_to_commit_a_load_loses_and_doubles_nothing(conn, places):
    both(conn, places)
    searched = told(search.similar(conn, "one", bytes(4), k=500))
    for place in places:
        refuse_commits(place, "many")
        with pytest.raises(ServerError, match="no commit today"):
            load(conn, "many", range(30, 60))
        assert told(search.similar(conn, "many", bytes(4), k=500)) == searched
        allow_commits(place)
    assert sum(chips_at(places, "many")) > registry.get_archive(conn, "many").chips
    for archive in ("one", "many"):
        load(conn, archive, range(30, 60))
    same(conn)


def test_a_move_whose_commit_fails_on_a_shard_is_made_up_for_by_the_next(conn, places):
    for archive in ("one", "many"):
        new_archive(conn, archive, BITS)
        load(conn, archive)
    for place in places:
        with connection.connect(place) as there:
            new_archive(there, "many", BITS)
    for place in places:
        refuse_commits(place, "many")
        with pytest.raises(ServerError, match="no commit today"):
            shards.shard(conn, "many", places)
        assert shards.shards(conn, "many") == []
        same(conn)
        allow_commits(place)
    assert sum(chips_at(places, "many"))
    assert shards.shard(conn, "many", places) == registry.get_archive(conn, "many").chips
    same(conn)


def test_a_move_that_is_killed_changed_nothing(conn, databases, places):
    for archive in ("one", "many"):
        new_archive(conn, archive, BITS)
        load(conn, archive)
    with connection.connect(places[2]) as there:
        new_archive(there, "many", BITS)
    command = [
        sys.executable,
        "-m",
        "dcsh_pg.cli.main",
        "archive",
        "shard",
        "many",
        "--dsn",
        databases[0],
    ]
    command[1:3] = ["-c", "from dcsh_pg.cli.main import run; run()"]
    for place in places:
        command += ["--server", place]
    with psycopg.connect(places[2]) as there:
        there.execute("LOCK TABLE dcsh.many IN SHARE MODE")
        victim = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        waits = "SELECT FROM pg_locks WHERE relation = 'dcsh.many'::regclass AND NOT granted"
        while not there.execute(waits).fetchall():
            assert victim.poll() is None, victim.stderr.read()
            time.sleep(0.02)
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
    assert shards.shards(conn, "many") == []
    same(conn)
    shards.shard(conn, "many", places)
    same(conn)
    assert shards.shard(conn, "many", places) == 0
    same(conn)


def test_chips_come_back_and_the_shards_are_dropped(conn, places):
    both(conn, places)
    load(conn, "one", range(30, 33))
    load(conn, "many", range(30, 33))
    chips = registry.get_archive(conn, "many").chips
    with conn.transaction():
        assert conn.execute("SELECT dcsh.unshard_archive('many')").fetchone() == (chips,)
    assert sum(chips_at(places, "many")) == chips and shards.shards(conn, "many") == []
    same(conn)
    assert shards.shard(conn, "many", places) == chips
    same(conn)
    with conn.transaction():
        assert conn.execute("SELECT dcsh.unshard_archive('many')").fetchone() == (chips,)
    assert shards.unshard(conn, "many") == 0
    for place in places:
        with connection.connect(place) as there:
            assert registry.list_archives(there) == []
    assert conn.execute("SELECT count(*) FROM pg_foreign_server").fetchone() == (0,)
    tables = (
        "SELECT conname FROM pg_constraint WHERE conrelid = 'dcsh.many'::regclass AND contype = 'p'"
    )
    assert conn.execute(tables).fetchall() == [("many_pkey",)]
    load(conn, "one", range(33, 36))
    load(conn, "many", range(33, 36))
    same(conn)


def test_dropping_an_archive_drops_its_shards(conn, places):
    both(conn, places)
    with pytest.raises(ZeroDivisionError), conn.transaction():
        registry.drop_archive(conn, "many")
        raise ZeroDivisionError
    assert sum(chips_at(places, "many")) == registry.get_archive(conn, "many").chips
    registry.drop_archive(conn, "many")
    for place in places:
        with connection.connect(place) as there:
            assert registry.list_archives(there) == []
    new_archive(conn, "many", BITS)
    assert shards.shards(conn, "many") == []


def test_rights_comments_and_views_are_those_of_before(conn, places):
    for archive in ("one", "many"):
        new_archive(conn, archive, BITS)
        load(conn, archive)
    conn.execute(
        """
        CREATE SCHEMA other;
        CREATE VIEW other."My chips" WITH (security_barrier) AS
            SELECT id, code FROM dcsh.many WHERE valid_fraction > 0;
        GRANT SELECT ON dcsh.many TO PUBLIC;
        """
    )
    state = """
        SELECT relacl::text, obj_description(oid),
               (SELECT array_agg(col_description(c.oid, n)::text ORDER BY n) FROM generate_series(1, 10) n)
        FROM pg_class c WHERE oid = 'dcsh.many'::regclass
    """
    seen = "SELECT reloptions FROM pg_class WHERE oid = 'other.\"My chips\"'::regclass"
    before = conn.execute(state).fetchall(), conn.execute(seen).fetchall()
    for step in (lambda: shards.shard(conn, "many", places), lambda: shards.unshard(conn, "many")):
        step()
        assert (conn.execute(state).fetchall(), conn.execute(seen).fetchall()) == before
        counts = 'SELECT (SELECT count(*) FROM other."My chips"), (SELECT count(*) FROM dcsh.one)'
        assert len(set(conn.execute(counts).fetchone())) == 1
        one, many = (
            conn.execute(f"SELECT id, code FROM dcsh.{name}_layer ORDER BY id").fetchall()
            for name in ("one", "many")
        )
        assert one == many


def test_what_cannot_be_a_shard_is_refused_and_nothing_changes(
    conn, databases, places, three_servers
):
    for archive in ("one", "many"):
        new_archive(conn, archive, BITS)
        load(conn, archive)
    with connection.connect(places[1]) as there:
        new_archive(there, "many", BITS)
        load(there, "many", range(100, 110))
    wrong = make_conninfo(places[0], password="wrong")
    for servers, error, match in (
        ([], UsageError, "no server"),
        (places[:1] * 2, UsageError, "different names"),
        (databases[:2], UsageError, "or this very one"),
        (places, UsageError, 'has an archive "many" of its own'),
        (["postgresql://127.0.0.1:1/none"], ServerError, "port 1"),
        (["no=keyword"], UsageError, "--server is neither"),
        ([wrong], ServerError, "password authentication failed"),
    ):
        with pytest.raises(error, match=match) as raised:
            shards.shard(conn, "many", servers)
        assert PASSWORD not in f"{raised.value}{raised.value.hint}"
    with pytest.raises(NotFound, match="no archive 'none'"):
        shards.shard(conn, "none", places)
    with pytest.raises(UsageError, match="by scene or by chip"):
        shards.shard(conn, "many", [places[0]], by="size")
    assert conn.execute("SELECT count(*) FROM pg_foreign_server").fetchone() == (0,)
    same(conn)
    shards.shard(conn, "many", [places[0], places[2]])
    with pytest.raises(UsageError, match="other servers or in another order"):
        shards.shard(conn, "many", [places[2], places[0]])
    same(conn)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("ALTER TABLE dcsh.many ENABLE ROW LEVEL SECURITY", "row security"),
        ("GRANT SELECT (id) ON dcsh.many TO PUBLIC", "rights on columns"),
        (
            "CREATE TRIGGER t BEFORE UPDATE ON dcsh.many FOR EACH ROW "
            "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "a trigger",
        ),
    ],
)
def test_what_a_table_over_servers_would_not_have_is_not_lost_silently(conn, places, change, what):
    new_archive(conn, "many", BITS)
    conn.execute(change)
    with pytest.raises(UsageError, match=f"has {what}, which would be lost"):
        shards.shard(conn, "many", places)


def test_a_role_that_may_search_searches_with_a_mapping_of_its_own(conn, databases, places):
    both(conn, places)
    nearest = told(search.similar(conn, "one", bytes(4)))
    conn.execute(
        """
        CREATE ROLE analyst LOGIN PASSWORD 'analyst';
        GRANT USAGE ON SCHEMA dcsh TO analyst;
        GRANT SELECT ON ALL TABLES IN SCHEMA dcsh TO analyst;
        """
    )
    try:
        analyst = make_conninfo(databases[0], user="analyst", password="analyst")
        with connection.connect(analyst) as asking:
            with pytest.raises(ServerError, match="user mapping not found"):
                search.similar(asking, "many", bytes(4))
            for server in ("dcsh_1", "dcsh_2", "dcsh_3"):
                mapping = sql.SQL(
                    "CREATE USER MAPPING FOR analyst SERVER {} OPTIONS (user 'postgres', password {})"
                )
                conn.execute(mapping.format(sql.Identifier(server), sql.Literal(PASSWORD)))
            assert told(search.similar(asking, "many", bytes(4))) == nearest
    finally:
        conn.execute("DROP OWNED BY analyst CASCADE; DROP ROLE analyst")


@pytest.mark.parametrize("layer", ["postgis"], indirect=True)
def test_a_shard_keeps_footprints_the_same_way(conn, three_servers, make_database):
    new_archive(conn, "many", BITS)
    with make_database(three_servers[1]) as place:
        migrate.upgrade(place, spatial="core")
        with pytest.raises(SchemaError, match="footprints"):
            shards.shard(conn, "many", [place])


def test_a_shard_that_is_gone_is_an_error_and_not_a_shorter_answer(conn, places):
    both(conn, places)
    with psycopg.connect(make_conninfo(places[1], dbname="postgres"), autocommit=True) as admin:
        gone = conninfo_to_dict(places[1])["dbname"]
        admin.execute(f"ALTER DATABASE {gone} ALLOW_CONNECTIONS false")
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [gone]
        )
        with pytest.raises(DcshError, match="dcsh_2"):
            search.similar(conn, "many", bytes(4))
        with pytest.raises(DcshError, match="dcsh_2"):
            registry.drop_archive(conn, "many")
        conn.execute('DROP FOREIGN TABLE dcsh."many$2"')
        registry.drop_archive(conn, "many")
        assert [archive.name for archive in registry.list_archives(conn)] == ["one"]


def test_a_plain_owner_needs_only_the_wrapper(three_servers, layer, make_database):
    with ExitStack() as made:
        dsns = [made.enter_context(make_database(admin)) for admin in three_servers]
        for dsn in dsns:
            with psycopg.connect(dsn, autocommit=True) as admin:
                admin.execute("CREATE ROLE plain LOGIN PASSWORD 'pass word'")
                for extension in ("vector", "postgis") if layer == "postgis" else ("vector",):
                    admin.execute(f"CREATE EXTENSION {extension}")
                admin.execute("CREATE SCHEMA dcsh AUTHORIZATION plain")
        plain = [make_conninfo(dsn, user="plain", password="pass word") for dsn in dsns]
        try:
            migrate.upgrade(plain[0], spatial=layer)
            with connection.connect(plain[0]) as conn:
                for archive in ("one", "many"):
                    new_archive(conn, archive, BITS)
                    load(conn, archive)
                with pytest.raises(ServerError) as refused:
                    shards.shard(conn, "many", plain[1:])
                with psycopg.connect(dsns[0], autocommit=True) as admin:
                    admin.execute(refused.value.hint.partition(": ")[2])
                shards.shard(conn, "many", plain[1:])
                load(conn, "one", range(30, 40))
                load(conn, "many", range(30, 40))
                same(conn)
                registry.drop_archive(conn, "many")
        finally:
            for dsn in dsns:
                with psycopg.connect(dsn, autocommit=True) as admin:
                    admin.execute("DROP OWNED BY plain CASCADE; DROP ROLE plain")

"""Moving an archive to three servers and back, and all that can go wrong there."""

import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from shard_servers import PASSWORD
from sharded import BITS, both, chips_at, load, same, told
from synthetic import new_archive

from dcsh_pg.database import connection, migrate, registry, search, shards
from dcsh_pg.errors import DcshError, NotFound, SchemaError, ServerError, UsageError


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

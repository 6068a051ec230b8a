"""Loading: ids, replacement, and kills at any point."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psycopg
import pytest
import shapely
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo
from synthetic import Scene, add, new_archive, rows

from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server import rights
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import InputError, ServerError, UsageError


def load(conn, scenes, *, flush_after=()):
    """Loads a new archive 'places'; ``flush_after`` names the scenes to flush after."""
    if any(archive.name == "places" for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, "places")
    loader = Loader(conn, new_archive(conn, "places"))
    for n, (scene, codes, footprints) in enumerate(scenes):
        add(loader, scene, codes, footprints)
        if n in flush_after:
            loader.flush()
    loader.flush()
    return rows(conn, "places")


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    chips=st.lists(st.integers(0, 5), min_size=1, max_size=8),
    flush_after=st.sets(st.integers(0, 7)),
)
def test_rows_do_not_depend_on_flushes(conn, chips, flush_after):
    scenes = []
    for n, count in enumerate(chips):
        codes = np.full((count, 8), n, np.uint8)
        corners = [5 + (n + i) % 3 for i in range(count)]
        footprints = [shapely.Point(n, i).buffer(0.4, quad_segs=c) for i, c in enumerate(corners)]
        scenes.append((Scene(f"{n}.tif"), codes, footprints if n % 2 else None))
    at_once = load(conn, scenes)
    assert load(conn, scenes, flush_after=flush_after) == at_once
    ids = [row[0] for row in at_once if row[0] is not None]
    assert ids == list(range(1, sum(chips) + 1))


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    named=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=7),
    flush_after=st.sets(st.integers(0, 6)),
)
@example(named=[(0, 0), (0, 1), (0, 2)], flush_after={0})
@example(named=[(0, 0), (0, 1), (0, 0)], flush_after={0})
def test_the_last_scene_of_a_uri_is_stored_whatever_the_flushes(core, named, flush_after):
    scenes = [
        (Scene(f"{uri}.tif", f"{uri}{content}" * 32), np.full((2, 8), content, np.uint8), None)
        for uri, content in named
    ]
    stored = load(core, scenes, flush_after=flush_after)
    assert stored == load(core, scenes, flush_after=range(7))
    last = {scene.uri: scene.content_hash for scene, _, _ in scenes}
    found = core.execute("SELECT uri, content_hash FROM dcsh.scene ORDER BY uri").fetchall()
    assert found == sorted(last.items())
    assert len(stored) == 2 * len(last)


def test_footprints_of_any_number_of_corners_are_stored(conn):
    shapes = [shapely.box(0, 0, 1, 1), shapely.Point(3, 3).buffer(1, 7), shapely.box(4, 4, 5, 5)]
    load(conn, [(Scene("a"), np.zeros((3, 8), np.uint8), shapes)])
    from dcsh_pg.database.search import chips

    for n, shape in enumerate(shapes):
        stored = shapely.geometry.shape(chips.chip(conn, "places", n + 1).footprint)
        assert shapely.equals_exact(stored, shape)


def test_a_known_uri_with_new_content_replaces_its_chips(conn):
    scenes = [(Scene(f"{n}.tif"), np.full((2, 8), n, np.uint8), None) for n in range(3)]
    load(conn, scenes)
    loader = Loader(conn, registry.get_archive(conn, "places"))
    new = Scene("1.tif", content_hash="new", properties={"version": 2})
    add(loader, new, np.full((3, 8), 9, np.uint8), skipped=4)
    loader.flush()
    stored = conn.execute("SELECT scene_id, array_agg(id ORDER BY id) FROM dcsh.places GROUP BY 1")
    assert dict(stored.fetchall()) == {1: [1, 2], 2: [7, 8, 9], 3: [5, 6]}
    assert loader.known()["new"] == "1.tif"
    record = registry.get_archive(conn, "places")
    assert (record.scenes, record.chips, record.skipped) == (3, 7, 4)


def test_scenes_of_a_concurrent_load_are_not_stored_twice(conn, any_deployment):
    archive = new_archive(conn, "places")
    with connect(any_deployment) as other:
        loaders = [Loader(conn, archive), Loader(other, archive)]
        for loader in loaders:
            add(loader, Scene("same.tif"), np.zeros((2, 8), np.uint8))
        add(loaders[1], Scene("more.tif"), np.zeros((1, 8), np.uint8))
        for loader in loaders:
            loader.flush()
    ids = conn.execute("SELECT id, scene_id FROM dcsh.places ORDER BY id").fetchall()
    assert ids == [(1, 1), (2, 1), (3, 2)]


def test_an_error_is_recorded_once_and_deleted_when_the_scene_is_stored(core):
    loader = Loader(core, new_archive(core, "places"))
    loader.record_error("bad.tif", "no such band", None)
    loader.record_error("bad.tif", "cannot be read", "copy it again")
    (error,) = registry.ingest_errors(core, "places")
    assert (error.uri, error.message, error.hint) == ("bad.tif", "cannot be read", "copy it again")
    add(loader, Scene("bad.tif"), np.zeros((1, 8), np.uint8))
    loader.flush()
    assert registry.ingest_errors(core, "places") == []


WRONG = {
    "a uri longer than an index takes": Scene("/" + random.Random(0).randbytes(9000).hex()),
    "NUL in a property": Scene("nul.tif", properties={"a": ["b", {"c": "d\0"}]}),
    "a lone surrogate in a key": Scene("surrogate.tif", properties={"\ud800": 1}),
    "NaN": Scene("nan.tif", properties={"cloud": float("nan")}),
    "too many digits": Scene("digits.tif", properties={"n": 10**5000}),
    "a name that is not UTF-8": Scene(os.fsdecode(b"/data/b\xfcro.tif"), content_hash="f" * 64),
    "an item with NUL": Scene("item.tif", item_id="a\0b"),
    "what a trigger refuses": Scene("refused.tif"),
}


@pytest.mark.parametrize("what", WRONG)
def test_only_the_scene_that_cannot_be_stored_is_left_out(core, what):
    clean, loader = (Loader(core, new_archive(core, name)) for name in ("clean", "places"))
    core.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.uri = 'refused.tif' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON dcsh.scene FOR EACH ROW EXECUTE FUNCTION refuse()
        """
    )
    good = [Scene(f"{n}.tif") for n in range(11)]
    failed = []
    for n, scene in enumerate(good):
        add(clean, scene, np.full((n % 3, 8), n, np.uint8))
        if n == 4:
            try:
                add(loader, WRONG[what], np.full((2, 8), 77, np.uint8))
            except InputError as error:
                failed.append(error)
        add(loader, scene, np.full((n % 3, 8), n, np.uint8))
    assert clean.flush() == []
    refused = loader.flush()
    [error] = failed or [scene.error for scene in refused]
    assert isinstance(error, InputError) and "cannot be stored" in error.message
    loader.record_error(WRONG[what].uri, error.message, error.hint)
    assert rows_but_scene_ids(core, "places") == rows_but_scene_ids(core, "clean")
    assert len(registry.ingest_errors(core, "places")) == 1
    assert (loader.waiting, loader.flush()) == (0, [])
    loader.forget_errors([WRONG[what].uri])
    assert registry.ingest_errors(core, "places") == []


def test_each_scene_that_cannot_be_stored_costs_one_attempt(core):
    loader = Loader(core, new_archive(core, "places"))
    core.execute("ALTER TABLE dcsh.scene ADD CHECK (uri ~ '^[0-9]')")
    for n in range(40):
        add(loader, Scene(f"{'x' if n % 8 < 7 else ''}{n}.tif"), np.full((1, 8), n, np.uint8))
    assert len(loader.flush()) == 35
    stored = core.execute(
        "SELECT p.id, s.uri FROM dcsh.places p JOIN dcsh.scene s ON s.id = scene_id"
    )
    assert sorted(stored.fetchall()) == [(i + 1, f"{8 * i + 7}.tif") for i in range(5)]


def test_errors_of_the_server_are_not_blamed_on_a_scene(core):
    loader = Loader(core, new_archive(core, "places"))
    for n in range(3):
        add(loader, Scene(f"{n}.tif"), np.zeros((1, 8), np.uint8))
    core.execute("SET default_transaction_read_only = on")
    with pytest.raises(ServerError, match="read-only"):
        loader.flush()
    core.execute("SET default_transaction_read_only = off")
    assert loader.waiting == 3
    assert loader.flush() == []
    assert len(rows(core, "places")) == 3


@pytest.mark.parametrize(("failures", "stored"), [(1, 3), (99, 0)])
def test_an_internal_error_is_blamed_on_a_scene_only_if_it_repeats(core, failures, stored):
    """Citus reports a worker that closed the connection as an internal error."""
    loader = Loader(core, new_archive(core, "places"))
    core.execute(
        f"""
        CREATE SEQUENCE asked;
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('asked') <= {failures} THEN
                RAISE 'server closed the connection unexpectedly' USING ERRCODE = 'XX000';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER fail BEFORE INSERT ON dcsh.places FOR EACH ROW EXECUTE FUNCTION fail();
        """
    )
    add(loader, Scene("a.tif"), np.zeros((3, 8), np.uint8))
    assert len(loader.flush()) == (stored == 0)
    assert len(rows(core, "places")) == stored and loader.waiting == 0


def rows_but_scene_ids(conn, name):
    return [(row[0], *row[2:]) for row in rows(conn, name)]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    stored=st.permutations("abcde"),
    now=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True),
)
def test_renamed_scenes_keep_their_ids_and_replace_scenes_of_their_new_names(conn, stored, now):
    load(conn, [(Scene(uri, content_hash=uri), np.full((2, 8), ord(uri), np.uint8), None)
                for uri in stored])  # fmt: skip
    before = {content: (ids, code) for content, _, ids, code in renamed_rows(conn)}
    moves = dict(zip(stored, now, strict=False))  # content -> URI
    loader = Loader(conn, registry.get_archive(conn, "places"))
    names = [Scene(uri, content_hash=content) for content, uri in moves.items()]
    assert loader.rename([*names, Scene("x", content_hash="unknown")]) == len(moves)
    taken = set(moves.values())
    expected = moves | {uri: uri for uri in stored if uri not in moves and uri not in taken}
    after = renamed_rows(conn)
    assert {content: uri for content, uri, _, _ in after} == expected
    assert all((ids, code) == before[content] for content, _, ids, code in after)


def renamed_rows(conn):
    return conn.execute(
        """
        SELECT content_hash, uri, array_agg(c.id ORDER BY c.id), min(c.code::text)
        FROM dcsh.scene s JOIN dcsh.places c ON c.scene_id = s.id
        WHERE s.archive_id = (SELECT id FROM dcsh.archive WHERE name = 'places') GROUP BY 1, 2
        """
    ).fetchall()


def test_codes_of_another_length_are_refused_and_nothing_is_stored(core):
    loader = Loader(core, new_archive(core, "places"))
    with pytest.raises(ValueError, match=r"are \(1, 8\), not \(1, 2\)"):
        add(loader, Scene("a"), np.zeros((1, 2), np.uint8))
    loader.flush()
    assert rows(core, "places") == []


def test_a_loader_requires_autocommit(database):
    with psycopg.connect(database) as conn, connect(database) as good:
        archive = new_archive(good, "places")
        with pytest.raises(UsageError, match="autocommit"):
            Loader(conn, archive)


VICTIM = Path(__file__).with_name("victim.py")


@pytest.mark.parametrize(
    "where",
    ["between flushes", "in COPY", "before commit", "before the index", "in the index"],
)
def test_a_killed_and_repeated_load_gives_the_rows_of_one_clean_run(core, database, where):
    new_archive(core, "clean")
    new_archive(core, "killed")
    subprocess.run([sys.executable, VICTIM, database, "clean", "nowhere"], check=True)
    done = subprocess.run([sys.executable, VICTIM, database, "killed", where])
    assert done.returncode == -signal.SIGKILL
    # The server may need a moment to see that its client is gone; the lock waits for that.
    subprocess.run([sys.executable, VICTIM, database, "killed", "nowhere"], check=True)
    clean, killed = (
        core.execute(
            f"SELECT id, col_off, code, valid_fraction FROM dcsh.{name} ORDER BY id"
        ).fetchall()
        for name in ("clean", "killed")
    )
    assert len(clean) == 60 and killed == clean
    indexes = core.execute(
        """
        SELECT dcsh_private.has_hamming(), dcsh_private.code_index('clean') IS NOT NULL,
               dcsh_private.code_index('killed') IS NOT NULL
        """
    ).fetchone()
    assert len(set(indexes)) == 1
    if indexes[0]:
        core.execute("SELECT dcsh.hamming_check(dcsh_private.code_index('killed'))")


def waits_for(core, conn):
    """The kind of lock: 'relation', 'transactionid' for a row, 'tuple' for a place in its queue."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        row = core.execute(
            "SELECT locktype FROM pg_locks WHERE pid = %s AND NOT granted",
            [conn.info.backend_pid],
        ).fetchone()
        if row:
            return row[0]
        time.sleep(0.02)


def test_a_load_does_not_wait_for_an_index_that_is_rebuilt_concurrently(core, database):
    """ANALYZE would wait with a snapshot, which REINDEX CONCURRENTLY waits for: a deadlock."""
    loader = Loader(core, new_archive(core, "places"))
    add(loader, Scene("a.tif"), np.full((2, 8), 1, np.uint8))
    core.execute("SET lock_timeout = '5s'")
    with connect(database) as rebuilding, rebuilding.transaction():
        rebuilding.execute("LOCK TABLE dcsh.places IN SHARE UPDATE EXCLUSIVE MODE")
        loader.flush()
    assert len(rows(core, "places")) == 2


def test_a_removal_and_a_replacement_of_one_scene_do_not_deadlock(core, database):
    """Otherwise each could hold what the other waits for."""
    scenes = [(Scene(f"{n}.tif"), np.full((2, 8), n, np.uint8), None) for n in range(2)]
    load(core, scenes)

    def replace(conn):
        loader = Loader(conn, registry.get_archive(conn, "places"))
        add(loader, Scene("1.tif", content_hash="new"), np.full((3, 8), 9, np.uint8))
        loader.flush()

    with (
        connect(database) as holder,
        connect(database) as remover,
        connect(database) as loading,
        ThreadPoolExecutor() as threads,
    ):
        with holder.transaction():
            holder.execute("SELECT FROM dcsh.places WHERE scene_id = 2 FOR UPDATE")
            removal = threads.submit(registry.remove_scene, remover, "places", "1.tif")
            assert waits_for(core, remover) == "transactionid"
            replacement = threads.submit(replace, loading)
            assert waits_for(core, loading) == "transactionid", "not for the chips, but before them"
        assert removal.result() == 2
        replacement.result()
    assert [row[0] for row in rows(core, "places")] == [1, 2, 5, 6, 7]


def indexes(conn):
    return conn.execute(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'dcsh' AND tablename = 'places' ORDER BY 1"
    ).fetchall()


def relations(conn):
    return dict(
        conn.execute(
            "SELECT indexname, ('dcsh.' || indexname)::regclass::oid FROM pg_indexes"
            " WHERE schemaname = 'dcsh' AND tablename = 'places'"
        ).fetchall()
    )


LARGE = np.random.default_rng(1).integers(0, 256, (10_000, 8), dtype=np.uint8)
BOXES = shapely.box(*np.random.default_rng(2).uniform(0, 40, (2, 10_000)), 50, 60)


@pytest.mark.parametrize("is_read", [False, True])
def test_a_first_large_load_builds_the_indexes_afterwards(conn, any_deployment, is_read):
    loader = Loader(conn, new_archive(conn, "places"))
    conn.execute("CREATE INDEX mine ON dcsh.places (width)")
    conn.execute("COMMENT ON INDEX dcsh.places_acquired_idx IS 'kept'")
    before, made = indexes(conn), relations(conn)
    with connect(any_deployment) as other, other.transaction():
        if is_read:
            other.execute("SELECT count(*) FROM dcsh.places")
        add(loader, Scene("0.tif"), LARGE[:4_000], BOXES[:4_000])
        add(loader, Scene("1.tif"), LARGE[4_000:], None)
        assert loader.flush() == []
    assert indexes(conn) == before
    distributed = conn.execute("SELECT dcsh_private.is_distributed('places')").fetchone()[0]
    now = relations(conn)
    new = {name for name in made if now[name] != made[name]}
    is_new = not is_read and not distributed
    assert new == ({"places_geom_idx", "places_scene_id_idx"} if is_new else set())
    found = conn.execute("SELECT id, code::text FROM dcsh.places ORDER BY id").fetchall()
    assert found == [
        (n + 1, "".join(map(str, np.unpackbits(code)))) for n, code in enumerate(LARGE)
    ]
    again = relations(conn)
    add(loader, Scene("2.tif"), LARGE, None)
    loader.flush()
    assert relations(conn) == again


def test_a_role_that_does_not_own_an_archive_loads_it_too(core, database):
    name = f"loader_{core.info.dbname}"
    core.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    record = new_archive(core, "places")
    rights.grant(core, name, write=True)
    before = relations(core)
    try:
        with connect(make_conninfo(database, user=name, password="x")) as other:
            loader = Loader(other, record)
            add(loader, Scene("0.tif"), LARGE, None)
            assert loader.flush() == []
        assert relations(core) == before
    finally:
        core.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")

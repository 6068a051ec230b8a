"""Searches by an approximate index: only where they are permitted, and never by an exact search."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
import searching as search
import shapely
from synthetic import Scene, add, new_archive

from dcsh_pg import codes as packed
from dcsh_pg.database.archives.approximation import approximation
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import hits
from dcsh_pg.database.search.query import ChipQuery, CodeQuery, ExamplesQuery
from dcsh_pg.database.server.connect import connect

DAY = datetime(2021, 6, 1, tzinfo=timezone.utc)
HNSW = "hnsw (code bit_hamming_ops)"
IVFFLAT = "ivfflat (code bit_hamming_ops) WITH (lists = 20)"
INDEXES = pytest.mark.parametrize("index", [HNSW, IVFFLAT])


def made_codes(count, seed=0):
    random = np.random.default_rng(seed)
    centres = random.integers(0, 256, (20, 8), dtype=np.uint8)
    noise = np.packbits(random.random((count, 64)) < 0.1, axis=-1)
    return centres[random.integers(0, len(centres), count)] ^ noise


CODES = made_codes(3000)
QUERIES = made_codes(20, seed=1)


def fill(conn):
    """Archive places of ten scenes a day apart, without an index on codes."""
    conn.execute("DROP EXTENSION IF EXISTS dcsh_hamming CASCADE")
    loader = Loader(conn, new_archive(conn, "places"))
    for n, part in enumerate(np.array_split(np.arange(len(CODES)), 10)):
        scene = Scene(f"places/{n}", acquired=DAY + timedelta(days=n))
        add(loader, scene, CODES[part], [shapely.box(n, 0, n + 1, 1)] * len(part))
    loader.flush()
    conn.execute("ANALYZE dcsh.places")


def brute_force(query, k, kept=None):
    kept = np.arange(len(CODES)) if kept is None else kept
    distances = packed.hamming(CODES[kept], query)[:, 0]
    order = np.lexsort((kept, distances))[:k]
    return [(int(distances[n]), int(kept[n]) + 1) for n in order]


def found(conn, query, k=10, filter=Filter(), *, exact=False):
    hits_ = hits(conn, "places", CodeQuery(bytes(query), exact=exact), filter, k)
    return [(hit.distance, hit.id) for hit in hits_]


def scans(conn):
    conn.execute("SELECT pg_stat_force_next_flush()")
    return conn.execute(
        "SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_indexes i JOIN pg_class x"
        " ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam"
        " WHERE m.amname IN ('hnsw', 'ivfflat') AND i.relname ~ '^places'"
    ).fetchone()[0]


@pytest.fixture
def everywhere(server):
    fill(server)
    server.execute("SET enable_seqscan = off")
    return server


@pytest.fixture
def places(core):
    fill(core)
    core.execute("SET enable_seqscan = off")
    return core


@INDEXES
def test_an_exact_search_never_uses_it(everywhere, index):
    conn = everywhere
    conn.execute(f"CREATE INDEX ON dcsh.places USING {index}")
    conn.execute("SET hnsw.ef_search = 10")
    (plan,) = conn.execute("SELECT dcsh_private.plan('places')").fetchone()
    assert "Order By" not in str(plan)
    later = Filter(since=DAY + timedelta(days=5))
    for query in QUERIES:
        assert found(conn, query, 300, exact=True) == brute_force(query, 300)
        assert found(conn, query, 300, later, exact=True) == brute_force(
            query, 300, np.arange(1500, 3000)
        )
    chip = packed.hamming(CODES, CODES[4:5])[:, 0]
    assert len(search.within(conn, "places", CODES[4], 12)) == np.sum(chip <= 12)
    examples = hits(conn, "places", ExamplesQuery([5]), k=200)
    assert [(h.distance, h.id) for h in examples] == [
        row for row in brute_force(CODES[4], 201) if row[1] != 5
    ][:200]
    assert scans(conn) == 0


@INDEXES
def test_an_approximate_search_uses_it_and_orders_what_it_finds(everywhere, index):
    conn = everywhere
    conn.execute(f"CREATE INDEX ON dcsh.places USING {index}")
    recalls = []
    for query in QUERIES:
        distances = packed.hamming(CODES, query)[:, 0]
        rows = found(conn, query)
        assert len(rows) == 10 and rows == sorted(rows) == found(conn, query)
        assert all(distances[id - 1] == distance for distance, id in rows)
        recalls.append(np.mean([distance <= np.sort(distances)[9] for distance, _ in rows]))
    assert np.mean(recalls) > 0.5
    assert scans(conn) >= len(QUERIES)
    others = hits(conn, "places", ChipQuery(5, exact=False), k=3)
    assert len(others) == 3 and 5 not in [hit.id for hit in others]
    likes = hits(conn, "places", ExamplesQuery([5, 9], [77], exact=False), k=3)
    assert len(likes) == 3 and not {5, 9, 77} & {hit.id for hit in likes}


@INDEXES
def test_ties_are_ordered_by_id(core, index):
    core.execute("DROP EXTENSION IF EXISTS dcsh_hamming CASCADE")
    loader = Loader(core, new_archive(core, "places"))
    add(loader, Scene("a"), np.repeat(made_codes(40), 5, axis=0))
    loader.flush()
    core.execute(f"CREATE INDEX ON dcsh.places USING {index.partition(' WITH')[0]}")
    core.execute("SET enable_seqscan = off")
    rows = found(core, made_codes(40)[3], 3)
    assert rows == [(0, 16), (0, 17), (0, 18)]


@INDEXES
def test_a_filter_leaves_no_answer_short(places, index):
    conn = places
    conn.execute(f"CREATE INDEX ON dcsh.places USING {index}")
    for days in (1, 4):
        kept = np.arange(3000 - 300 * days, 3000)
        later = Filter(since=DAY + timedelta(days=10 - days))
        for query in QUERIES[:5]:
            rows = found(conn, query, 200, later)
            assert len(rows) == 200 and {id - 1 for _, id in rows} <= set(kept.tolist())
            assert found(conn, query, 5000, later) == brute_force(query, 5000, kept)
    near = found(conn, QUERIES[0], 200, Filter(max_distance=9))
    assert near == [row for row in found(conn, QUERIES[0], 200) if row[0] <= 9]


@INDEXES
def test_the_options_of_the_session_stay(places, index):
    conn = places
    conn.execute(f"CREATE INDEX ON dcsh.places USING {index}")
    option = f"{index.split()[0]}.{'ef_search' if index == HNSW else 'probes'}"
    with conn.transaction():
        conn.execute(f"SET LOCAL {option} = 3")
        found(conn, QUERIES[0], 10, Filter(since=DAY))
        assert conn.execute(f"SHOW {option}").fetchone() == ("3",)
        assert conn.execute("SHOW hnsw.iterative_scan").fetchone() == ("off",)


def test_without_an_approximate_index_the_answer_is_exact(places):
    assert approximation(places, "places") is None
    assert found(places, QUERIES[0], 50) == brute_force(QUERIES[0], 50)


def test_its_recall_is_that_of_its_comment(places):
    places.execute(f"CREATE INDEX rough ON dcsh.places USING {IVFFLAT}")
    known = approximation(places, "places")
    assert (known.index, known.option, known.setting) == ("dcsh.rough", "ivfflat.probes", 5)
    assert known.recall is None and "not measured" in str(known)
    places.execute("SELECT dcsh_private.store_recall('dcsh.rough', 7, 0.98765, 10, 100, 3000)")
    known = approximation(places, "places")
    assert (known.setting, known.recall, known.k) == (7, 0.9877, 10)
    assert (known.queries, known.rows) == (100, 3000)
    assert abs(known.measured - datetime.now(timezone.utc)) < timedelta(hours=1)
    places.execute("COMMENT ON INDEX dcsh.rough IS 'ours: ivfflat.probes = 99'")
    assert approximation(places, "places").setting == 5


def test_a_snapshot_older_than_the_approximate_index_is_searched_exactly(hamming):
    """Its catalog names the exact index, which the planner no longer sees."""
    with connect(hamming) as conn, connect(hamming) as other:
        loader = Loader(conn, new_archive(conn, "places"))
        add(loader, Scene("a"), CODES)
        loader.flush()
        loader.finish()
        conn.execute("SET enable_seqscan = off")
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            conn.execute("SELECT 1")
            other.execute("DROP INDEX dcsh.places_code_idx")
            other.execute(f"CREATE INDEX ON dcsh.places USING {HNSW}")
            assert found(conn, QUERIES[0], 300, exact=True) == brute_force(QUERIES[0], 300)


def test_a_distributed_archive_is_searched_exactly(citus_database):
    with connect(citus_database) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        add(loader, Scene("a"), CODES)
        loader.flush()
        conn.execute(f"CREATE INDEX ON dcsh.places USING {HNSW}")
        for exact in (True, False):
            with conn.transaction():
                conn.execute("SET LOCAL citus.propagate_set_commands = 'local'")
                conn.execute("SET LOCAL enable_seqscan = off")
                rows = found(conn, QUERIES[0], 300, exact=exact)
            assert rows == brute_force(QUERIES[0], 300)
        assert approximation(conn, "places") is None

"""Each pair of insertion, VACUUM, build and scan meets at each point where it could hurt.

One session is held at a point inside the index while another one does its work, as far as it gets
there; then the index has to hold what the table holds.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest
from hamming_cases import by_heap, by_index, check, fill, make_codes
from held_sessions import POINTS, Session, Watcher, meet
from psycopg.conninfo import make_conninfo
from server_faults import connect_again, flush_wal, kill_backend

from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.database.server.native_build import SOURCES

# PostgreSQL 18 is reported by a setting where to find the library with points; 16 is not.
pytestmark = pytest.mark.parametrize("programs", [18], indirect=True, ids=["pg18"], scope="session")

BITS = 1024
"""The longest codes, so that few rows make many pages: 56 entries each, 28 of them a directory page."""

AT = POINTS | {
    "build": POINTS["build"] + ["vacuum-counted", "vacuum-page", "vacuum-judged", "vacuum-done"]
}
"""Where each is held; a build that keeps nobody waiting lists its entries by a VACUUM."""


AFTER = dict.fromkeys(
    ["vacuum-page", "vacuum-judged", "vacuum-rewritten", "vacuum-logged", "vacuum-page-done"], 4
) | dict.fromkeys(["search-page", "search-page-locked", "search-page-compared"], 1)
"""How often each passes a point that it comes to on each page, before it is held: VACUUM is held at
the page where insertions go, which is the last of five; a scan comes to that first, and is held at
the next one, where VACUUM moves entries."""

IN_ONE_INSERTION = ("insert-page", "insert-covered", "insert-changed", "insert-done")

FIRST, SECOND = 170, 130
"""Rows of the table, and rows that an insertion adds."""


@pytest.fixture(scope="session")
def points_database(programs, hamming_admin, server_folder, compiler) -> Iterator[str]:
    """DSN of a database whose sessions load a library with points."""
    sources = shutil.copytree(SOURCES, server_folder / "points")
    built = subprocess.run(
        ["make", "-s", "-j2", "HAMMING_TEST=1", f"PG_CONFIG={programs / 'pg_config'}",
         f"CC={compiler}"],
        cwd=sources, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    with psycopg.connect(hamming_admin, autocommit=True) as conn:
        conn.execute("CREATE DATABASE with_points")
        conn.execute(f"ALTER DATABASE with_points SET dynamic_library_path = '{sources}:$libdir'")
    dsn = make_conninfo(hamming_admin, dbname="with_points")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE EXTENSION dcsh_hamming CASCADE")
        rng = np.random.default_rng(34)
        fill(conn, make_codes("clustered", FIRST, BITS, rng), table="first")
        # Some that bounds cover, and some that widen them.
        fill(conn, make_codes("random", SECOND // 2, BITS, rng), table="second", first=1000)
        conn.execute("INSERT INTO second SELECT id + 2000, code FROM first WHERE id >= %s",
                     [FIRST - SECOND // 2])  # fmt: skip
    yield dsn


@pytest.fixture(scope="session")
def sessions(points_database, server_folder) -> Iterator[tuple[Session, Session, Watcher]]:
    made = [Session(points_database, server_folder / f"hold-{name}") for name in "ab"]
    watcher = Watcher(points_database)
    yield *made, watcher
    for session in made:
        session.close()
    watcher.close()


def insert(conn: psycopg.Connection) -> None:
    conn.execute("INSERT INTO t SELECT * FROM second ORDER BY id % 1000")


def insert_one(conn: psycopg.Connection) -> None:
    """A row whose code lies within the bounds of its page for the sake of dead rows alone."""
    conn.execute("INSERT INTO t SELECT * FROM second ORDER BY id % 1000 LIMIT 1")


def vacuum(conn: psycopg.Connection) -> None:
    conn.execute("VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t")


def scan(conn: psycopg.Connection) -> None:
    """What the index gives is what the table gives to the same snapshot."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        query = np.zeros(BITS, np.uint8)
        assert by_index(conn, query) == by_heap(conn, query)


def build(conn: psycopg.Connection) -> None:
    conn.execute("CREATE INDEX CONCURRENTLY again ON t USING hamming (code)")


def build_at_once(conn: psycopg.Connection) -> None:
    """The only builds that a table takes two of at once."""
    conn.execute(f"CREATE INDEX again_{conn.info.backend_pid} ON t USING hamming (code)")


def churn(conn: psycopg.Connection) -> None:
    """Gives the TIDs of dead rows to others, and has their entries removed again."""
    vacuum(conn)
    insert(conn)
    conn.execute("DELETE FROM t WHERE id % 2 = 0")
    vacuum(conn)


def make_table(conn: psycopg.Connection) -> None:
    """One with dead rows on each page of the index, and room on the last, where insertions begin; their
    codes lie within its bounds for the sake of dead rows alone."""
    conn.execute("DROP TABLE IF EXISTS t")
    conn.execute(
        f"CREATE TABLE t (id bigint, code bit({BITS})) "
        "WITH (parallel_workers = 2, autovacuum_enabled = off)"
    )
    conn.execute("INSERT INTO t SELECT * FROM first")
    conn.execute("INSERT INTO t VALUES (-1, NULL)")
    conn.execute("CREATE INDEX t_code ON t USING hamming (code)")
    conn.execute("INSERT INTO t SELECT id + 10000, code FROM second ORDER BY id % 1000 LIMIT 20")
    conn.execute("DELETE FROM t WHERE id % 3 = 0 OR id >= 10000")


def assert_whole(conn: psycopg.Connection) -> None:
    """All indexes hold each visible row once, and after a VACUUM nothing else."""
    rows = conn.execute("SELECT count(*) FROM t").fetchone()
    indexes = conn.execute(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 't'::regclass"
    ).fetchall()
    for (index,) in indexes:
        check(conn, index)
    scan(conn)
    vacuum(conn)
    for (index,) in indexes:
        check(conn, index)
        assert (
            conn.execute("SELECT entries FROM hamming_stats(%s::regclass)", [index]).fetchone()
            == rows
        )


JOBS = {"insert": insert, "vacuum": vacuum, "scan": scan, "build": build, "churn": churn}


@pytest.mark.parametrize("second", JOBS)
@pytest.mark.parametrize("first", AT)
def test_two_jobs_meet_at_each_injection_point(sessions, first, second):
    held, other, watcher = sessions
    jobs = (JOBS[first], JOBS[second])
    if first == second == "build":
        jobs = (build_at_once, build_at_once)
    for point in AT[first]:
        if jobs[0] is build_at_once and not point.startswith("build"):
            continue
        make_table(watcher.conn)
        after = AFTER.get(point, 0) if first != "build" else 0
        where, *_ = meet(held, other, watcher, jobs, stop_at=point, after=after)
        assert where == "held", point
        assert_whole(watcher.conn)


def test_vacuum_with_an_outdated_page_count(sessions):
    """pgvector #988: VACUUM keeps what it has read of the index (here its size, there the entry
    point) while insertions change just that, and leaves something behind unrepaired."""
    held, other, watcher = sessions
    make_table(watcher.conn)

    def outrun(conn: psycopg.Connection) -> None:
        """Makes pages, and another directory page, that VACUUM does not know of."""
        before = pages(conn)
        fill(conn, make_codes("random", 1700, BITS, np.random.default_rng(988)), first=10_000)
        assert pages(conn)[1] > before[1]
        conn.execute("DELETE FROM t WHERE id % 4 = 0")

    where, *_ = meet(held, other, watcher, (vacuum, outrun), stop_at="vacuum-counted")
    assert where == "held"
    assert_whole(watcher.conn)


def pages(conn: psycopg.Connection) -> tuple[int, int]:
    return conn.execute(
        "SELECT data_pages, directory_pages FROM hamming_stats('t_code')"
    ).fetchone()


def test_vacuum_after_an_interrupted_vacuum(sessions):
    """pgvector #993: a VACUUM comes upon what one before it, beside insertions and deletions, has
    removed already, and fails."""
    held, other, watcher = sessions
    make_table(watcher.conn)
    held.start(vacuum, stop_at="vacuum-page-done", after=1)
    assert watcher.settle(held) == "held"
    other.start(insert)
    assert watcher.settle(other) == "done"
    watcher.conn.execute("SELECT pg_cancel_backend(%s)", [held.pid])
    held.release()
    with pytest.raises(psycopg.errors.QueryCanceled):
        held.result()

    def insert_and_delete(conn: psycopg.Connection) -> None:
        insert(conn)
        conn.execute("DELETE FROM t WHERE id % 5 = 0")

    where, *_ = meet(
        held, other, watcher, (vacuum, insert_and_delete), stop_at="vacuum-page", after=2
    )
    assert where == "held"
    assert_whole(watcher.conn)


@pytest.mark.parametrize("point", ["insert-page", "insert-directory-unlocked", "insert-logged"])
def test_vacuum_during_an_unfinished_insertion(sessions, point):
    """pgvector #1010: VACUUM finds the first trace of an insertion and completes it, and then the
    insertion completes itself as well."""
    held, other, watcher = sessions
    make_table(watcher.conn)
    for after in range(0, SECOND, 40):
        where, *_ = meet(held, other, watcher, (insert, vacuum), stop_at=point, after=after)
        assert where == "held" or after > 0
        rows = watcher.conn.execute("SELECT count(*) FROM t").fetchone()
        check(watcher.conn)
        assert (
            watcher.conn.execute("SELECT entries FROM hamming_stats('t_code')").fetchone() == rows
        )


@pytest.mark.parametrize(("first", "second"), [(insert_one, vacuum), (vacuum, insert_one)])
def test_bounds_cover_a_row_inserted_while_vacuum_shrinks_them(sessions, first, second):
    """Further insertions would widen the bounds, and might hide that they missed the first one."""
    held, other, watcher = sessions
    for point in IN_ONE_INSERTION if first is insert_one else POINTS["vacuum"]:
        make_table(watcher.conn)
        where, *_ = meet(
            held, other, watcher, (first, second), stop_at=point, after=AFTER.get(point, 0)
        )
        assert where == "held", point
        check(watcher.conn)


@pytest.fixture(scope="session")
def crashing(programs, points_database, server_folder) -> Iterator[EmbeddedServer]:
    """A server whose sessions load the library with points, and whose pages are compared with their
    images in the WAL when it recovers."""
    server = EmbeddedServer(server_folder / "crashing", programs)
    folder = psycopg.connect(points_database).execute("SHOW dynamic_library_path").fetchone()[0]
    with psycopg.connect(server.start(), autocommit=True) as conn:
        for name, value in {
            # What a killed process has written is the system's to keep.
            "fsync": "off",
            "wal_consistency_checking": "generic",
            "dynamic_library_path": folder,
        }.items():
            conn.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        conn.execute("SELECT pg_reload_conf()")
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        conn.execute("CREATE EXTENSION dcsh_hamming CASCADE")
        with psycopg.connect(points_database) as made:
            for table in ("first", "second"):
                rows = made.execute(f"SELECT id, code FROM {table}").fetchall()
                conn.execute(f"CREATE TABLE {table} (id bigint, code bit({BITS}))")
                conn.cursor().executemany(f"INSERT INTO {table} VALUES (%s, %s)", rows)
    yield server
    server.stop()


CRASHES = {
    "insert-extended": insert, "insert-changed": insert, "insert-widened": insert,
    "insert-new-page": insert, "insert-logged": insert, "vacuum-rewritten": vacuum, "vacuum-logged": vacuum,
    "vacuum-done": vacuum, "build-written": build, "build-logged": build,
}  # fmt: skip


def test_a_backend_killed_at_each_injection_point(crashing, server_folder):
    """kill -9: the server throws all memory away, recovers by the WAL, and holds what it held."""
    for point, job in CRASHES.items():
        watcher = Watcher(crashing.conninfo())
        held = Session(crashing.conninfo(), server_folder / "hold-crash")
        make_table(watcher.conn)
        held.start(job, stop_at=point, after=AFTER.get(point, 0))
        assert watcher.settle(held) == "held", point
        flush_wal(watcher.conn)
        kill_backend(held.pid, watcher.conn)
        with pytest.raises(psycopg.OperationalError):
            held.result()
        held.close()
        watcher.close()
        with connect_again(crashing.conninfo()) as conn:
            conn.execute("DROP INDEX IF EXISTS again")
            assert_whole(conn)
            insert(conn)
            assert_whole(conn)

"""The hamming index beside others at work, through crashes and on a standby."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import psycopg
import pytest
from hamming_cases import by_heap, by_index, check, fill, make_codes
from server_faults import kill, make_standby, wait_for_replay

from dcsh_pg.database.server.embedded import EmbeddedServer

BITS = 64


def prepare(dsn: str, count: int = 3000, *, unlogged: bool = False) -> np.ndarray:
    codes = make_codes("clustered", count, BITS, np.random.default_rng(21))
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS dcsh_hamming CASCADE")
        conn.execute(
            f"CREATE {'UNLOGGED' if unlogged else ''} TABLE t (id bigint, code bit({BITS}))"
        )
        fill(conn, codes)
        conn.execute("CREATE INDEX t_code ON t USING hamming (code)")
    return codes


def write(dsn: str, number: int, stop: threading.Event) -> None:
    """Inserts, deletes and updates rows of one's own, some of them to be rolled back."""
    rng = np.random.default_rng(number)
    first = 1_000_000 * number
    with psycopg.connect(dsn, autocommit=True) as conn:
        while not stop.is_set():
            fill(conn, make_codes("clustered", 300, BITS, rng), first=first)
            with conn.transaction(force_rollback=bool(rng.random() < 0.3)):
                conn.execute("DELETE FROM t WHERE id BETWEEN %s AND %s", [first, first + 99])
                conn.execute(
                    "UPDATE t SET code = ~code WHERE id BETWEEN %s AND %s",
                    [first + 100, first + 149],
                )
            first += 300


def vacuum(dsn: str, stop: threading.Event) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        while not stop.is_set():
            conn.execute("VACUUM t")


def read(dsn: str, query: np.ndarray, stop: threading.Event) -> None:
    """What the index gives is what the table gives to the same snapshot."""
    with psycopg.connect(dsn) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        while not stop.is_set():
            with conn.transaction():
                assert by_index(conn, query) == by_heap(conn, query)


def run_for(seconds: float, jobs: list[Callable[[threading.Event], None]]) -> list[BaseException]:
    stop = threading.Event()
    raised: list[BaseException] = []

    def guarded(job: Callable[[threading.Event], None]) -> None:
        try:
            job(stop)
        except BaseException as error:
            raised.append(error)
            stop.set()

    threads = [threading.Thread(target=guarded, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return raised


def test_concurrent_writers_readers_and_vacuum(dsn_of_db):
    codes = prepare(dsn_of_db)
    jobs = [lambda stop, n=n: write(dsn_of_db, n, stop) for n in (1, 2)]
    jobs += [lambda stop, n=n: read(dsn_of_db, codes[n], stop) for n in (0, 1)]
    raised = run_for(3, [*jobs, lambda stop: vacuum(dsn_of_db, stop)])
    assert raised == []
    with psycopg.connect(dsn_of_db, autocommit=True) as conn:
        check(conn)
        assert by_index(conn, codes[0]) == by_heap(conn, codes[0])


def test_reindex_and_create_index_concurrently_with_writers(dsn_of_db):
    codes = prepare(dsn_of_db)

    def reindex(stop: threading.Event) -> None:
        with psycopg.connect(dsn_of_db, autocommit=True) as conn:
            while not stop.is_set():
                conn.execute("REINDEX INDEX CONCURRENTLY t_code")
                conn.execute("DROP INDEX IF EXISTS again")
                conn.execute("CREATE INDEX CONCURRENTLY again ON t USING hamming (code)")

    raised = run_for(2, [lambda stop: write(dsn_of_db, 1, stop), reindex])
    assert raised == []
    with psycopg.connect(dsn_of_db, autocommit=True) as conn:
        check(conn)
        check(conn, "again")
        assert by_index(conn, codes[0]) == by_heap(conn, codes[0])


def test_updates_during_invalidations_of_the_index(dsn_of_db):
    """A code that is stored out of line is fetched while its entry is made: catalog lookups, in
    which the renaming of the index is noticed."""
    stop = threading.Event()

    def rename() -> None:
        with psycopg.connect(dsn_of_db, autocommit=True) as conn:
            while not stop.is_set():
                conn.execute("ALTER INDEX t_code RENAME TO t_other")
                conn.execute("ALTER INDEX t_other RENAME TO t_code")

    with psycopg.connect(dsn_of_db, autocommit=True) as conn:
        conn.execute("CREATE TABLE t (id bigint, n integer, code bit(1024), filler text)")
        conn.execute(
            "ALTER TABLE t ALTER code SET STORAGE EXTERNAL, ALTER filler SET STORAGE PLAIN"
        )
        conn.execute(
            "INSERT INTO t SELECT g, 0, repeat(hashint8extended(g, 1)::bit(64)::text, 16)::bit(1024), "
            "repeat('x', 2200) FROM generate_series(1, 300) g"
        )
        conn.execute("CREATE INDEX t_code ON t USING hamming (code)")
        conn.execute("CREATE INDEX ON t (n)")
        thread = threading.Thread(target=rename)
        thread.start()
        try:
            for _ in range(10):
                conn.execute("UPDATE t SET n = n + 1")
        finally:
            stop.set()
            thread.join()
        check(conn)


@pytest.fixture
def server(programs, server_folder, tmp_path) -> Iterator[EmbeddedServer]:
    made = EmbeddedServer(server_folder / f"{tmp_path.name}-{programs.parent.name}", programs)
    with psycopg.connect(made.start(), autocommit=True) as conn:
        # What a killed process has written is the system's to keep.
        conn.execute("ALTER SYSTEM SET fsync = off")
        conn.execute("SELECT pg_reload_conf()")
    yield made
    made.stop()


def test_kill_9_during_load(server):
    dsn = server.conninfo()
    codes = prepare(dsn)
    rows = 0
    for second in (0.4, 0.7):
        jobs = [lambda stop, n=n: write(dsn, n, stop) for n in (1, 2, 3)]
        killer = threading.Timer(second, kill, [server])
        killer.start()
        raised = run_for(10, [*jobs, lambda stop: vacuum(dsn, stop)])
        killer.join()
        assert raised and all(isinstance(error, psycopg.OperationalError) for error in raised)

        server.start()
        with psycopg.connect(dsn, autocommit=True) as conn:
            check(conn)
            assert by_index(conn, codes[0]) == by_heap(conn, codes[0])
            count = conn.execute("SELECT count(*) FROM t").fetchone()[0]
            assert count > rows
            rows = count
            fill(conn, codes, first=10**9)
            conn.execute("VACUUM t")
            check(conn)
            assert by_index(conn, codes[0]) == by_heap(conn, codes[0])


def test_an_unlogged_index_is_empty_after_a_crash(server):
    dsn = server.conninfo()
    codes = prepare(dsn, unlogged=True)
    kill(server)
    server.start()
    with psycopg.connect(dsn, autocommit=True) as conn:
        check(conn)
        assert by_index(conn, codes[0]) == by_heap(conn, codes[0]) == []
        fill(conn, codes)
        check(conn)
        assert by_index(conn, codes[0]) == by_heap(conn, codes[0])


@pytest.fixture
def standby(server) -> Iterator[EmbeddedServer]:
    made = make_standby(server)
    yield made
    made.stop()


def test_a_standby_answers_as_the_primary_does(server, standby):
    primary, replica = server.conninfo(), standby.conninfo()
    codes = prepare(primary)
    raised = run_for(
        1, [*(lambda stop, n=n: write(primary, n, stop) for n in (1, 2)),
            lambda stop: vacuum(primary, stop)]
    )  # fmt: skip
    assert raised == []
    with psycopg.connect(primary, autocommit=True) as conn:
        fill(conn, make_codes("random", 700, 1024, np.random.default_rng(1)), table="wide")
        conn.execute("CREATE INDEX wide_code ON wide USING hamming (code)")
        fill(conn, make_codes("few", 300, 1024, np.random.default_rng(2)), table="wide", first=700)
        conn.execute("DELETE FROM wide WHERE id % 4 = 1")
        conn.execute("VACUUM wide")
    wait_for_replay(primary, replica)
    with psycopg.connect(replica, autocommit=True) as conn:
        assert conn.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        check(conn)
        check(conn, "wide_code")
        found = by_index(conn, codes[0])
        assert found == by_heap(conn, codes[0])
    with psycopg.connect(primary, autocommit=True) as conn:
        assert by_index(conn, codes[0]) == found

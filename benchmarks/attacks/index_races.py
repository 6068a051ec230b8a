"""Provokes races inside the hamming index.

Builds the index with the points at which a session can be held (sql/hamming_index/injection_point.c), starts a
temporary PostgreSQL 18 with a standby, and then repeatedly: creates a table; holds two or three
sessions, each with an insertion, deletion, VACUUM, build or scan, at random points; releases them in
random order; sometimes kills a held backend or the whole server with kill -9.  Afterwards the index
must be consistent, return what the table returns, have no dead entry after VACUUM, and the standby,
which compares each page that it replays with the primary's, must return the same.

    python benchmarks/attacks/index_races.py --minutes 60
"""

from __future__ import annotations

import atexit
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import psycopg
from psycopg import errors
from support.attack import Attack, run

from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.database.server.native_build import SOURCES
from dcsh_pg.database.server.programs import bundled

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "hamming_index"))
from hamming_cases import by_heap, by_index, check, fill, literal, make_codes
from held_sessions import POINTS, Job, Session, Watcher
from server_faults import (
    connect_again,
    flush_wal,
    kill,
    kill_backend,
    make_standby,
    wait_for_replay,
)

BUILD = POINTS["build"] + POINTS["vacuum"] + POINTS["insert"]
PASSES = POINTS | {
    "update": POINTS["insert"],
    "insert one": POINTS["insert"],
    "insert, rolled back": POINTS["insert"],
    "delete": [],
    "build": BUILD,
    "reindex": BUILD,
}
"""Operations, and the points that they may pass."""

EXPECTED = (errors.DeadlockDetected, errors.UndefinedTable, errors.DuplicateTable)
"""What two builds of one table may do to each other; PostgreSQL's own indexes do the same."""

CRASH, CRASH_OF_ALL, STANDBY = 0.1, 0.02, 0.3
"""Shares of the calls that kill a held backend or the server, and that ask the standby."""

MET: set[tuple[str, str, str]] = set()
"""A point where a session was held, what another one did meanwhile, and the point it was to stop at."""


@dataclass(frozen=True)
class Step:
    what: str
    job: Job
    point: str
    after: int


class Servers:
    """A primary with its standby, both with the library that has points."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dcsh-races-"))
        self.folder.chmod(0o755)
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        programs = bundled()[18]
        library = shutil.copytree(SOURCES, self.folder / "library")
        subprocess.run(
            ["make", "-s", "HAMMING_TEST=1", f"PG_CONFIG={programs / 'pg_config'}"],
            cwd=library, check=True,
        )  # fmt: skip
        self.primary = EmbeddedServer(self.folder / "primary", programs)
        atexit.register(self.primary.stop)
        with psycopg.connect(self.primary.start(), autocommit=True) as conn:
            for name, value in {
                "fsync": "off",
                "deadlock_timeout": "100ms",
                "autovacuum": "off",
                "dynamic_library_path": f"{library}:$libdir",
            }.items():
                conn.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            conn.execute("SELECT pg_reload_conf()")
        with psycopg.connect(self.primary.conninfo(), autocommit=True) as conn:
            conn.execute("CREATE EXTENSION dcsh_hamming CASCADE")
        self.standby = make_standby(self.primary)
        atexit.register(self.standby.stop)


@cache
def servers() -> Servers:
    return Servers()


def make_table(conn: psycopg.Connection, rng: random.Random, bits: int) -> None:
    dice = np.random.default_rng(rng.getrandbits(32))
    kind = rng.choice(["random", "clustered", "equal", "few"])
    conn.execute("DROP TABLE IF EXISTS t, more")
    fill(conn, make_codes(kind, rng.choice([0, 1, 50, 170, 600]), bits, dice))
    fill(conn, make_codes(kind, rng.choice([1, 40, 130]), bits, dice), table="more", first=10_000)
    fill(
        conn, make_codes("random", rng.choice([1, 40, 400]), bits, dice), table="more", first=20_000
    )
    conn.execute(
        "INSERT INTO t SELECT -n, NULL FROM generate_series(1, %s) n", [rng.choice([0, 3])]
    )
    # The codes of rows to be deleted: VACUUM shrinks the bounds around them.
    conn.execute("INSERT INTO more SELECT id + 30_000, code FROM t WHERE id >= 0 LIMIT %s", [rng.choice([0, 300])])  # fmt: skip
    conn.execute(f"ALTER TABLE t SET (parallel_workers = {rng.choice([0, 2])})")
    conn.execute("CREATE INDEX t_code ON t USING hamming (code)")
    conn.execute("DELETE FROM t WHERE id %% %s = 0", [rng.choice([1, 2, 3, 1000])])


def scan(conn: psycopg.Connection, query: np.ndarray) -> None:
    """What the index gives is what the table gives to the same snapshot."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert by_index(conn, query) == by_heap(conn, query), "index and table differ"


def insert_and_roll_back(conn: psycopg.Connection) -> None:
    with conn.transaction(force_rollback=True):
        conn.execute("INSERT INTO t SELECT id + 500000, code FROM more")


def random_step(rng: random.Random, number: int, query: np.ndarray) -> Step:
    what = rng.choice(list(PASSES))
    statements = {
        "insert": f"INSERT INTO t SELECT id + {100_000 * number}, code FROM more ORDER BY id % 777",
        "insert one": f"INSERT INTO t SELECT id + {100_000 * number}, code FROM more ORDER BY hashint8(id) LIMIT 1",
        "update": f"UPDATE t SET code = ~code WHERE id % {rng.choice([2, 7])} = 1",
        "vacuum": "VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t",
        "build": f"CREATE INDEX CONCURRENTLY again_{number} ON t USING hamming (code)",
        "reindex": "REINDEX INDEX CONCURRENTLY t_code",
        "delete": f"DELETE FROM t WHERE id % {rng.choice([2, 3, 5])} = 0",
    }
    jobs = {"scan": lambda conn: scan(conn, query), "insert, rolled back": insert_and_roll_back}
    job = jobs.get(what) or (lambda conn: conn.execute(statements[what]))
    point = rng.choice(["", *PASSES[what]]) if PASSES[what] else ""
    return Step(what, job, point, rng.choice([0, 0, 0, 1, 2, 5, 30, 120]))


def judge(conn: psycopg.Connection, queries: list[np.ndarray]) -> None:
    """All indexes are sound, hold each row, and after a VACUUM nothing else."""
    for (name,) in conn.execute(
        "SELECT indexrelid::regclass::text FROM pg_index"
        " WHERE indrelid = 't'::regclass AND NOT indisvalid"
    ).fetchall():
        conn.execute(f"DROP INDEX {name}")
    for _ in range(2):
        rows = conn.execute("SELECT count(*) FROM t").fetchone()
        names = conn.execute("SELECT relname FROM pg_class WHERE relam ="
                             " (SELECT oid FROM pg_am WHERE amname = 'hamming')").fetchall()  # fmt: skip
        for (name,) in names:
            check(conn, name)
        for query in queries:
            scan(conn, query)
        conn.execute("VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t")
        for (name,) in names:
            held = conn.execute(
                "SELECT entries FROM hamming_stats(%s::regclass)", [name]
            ).fetchone()
            assert held == rows, f"{name} holds {held[0]} entries of {rows[0]} rows"
        conn.execute("DELETE FROM t WHERE id % 7 = 0")
        conn.execute("INSERT INTO t SELECT id + 900000, code FROM more")


def judge_standby(conn: psycopg.Connection, query: np.ndarray) -> None:
    ask = f"SELECT array_agg(id) FROM (SELECT id FROM t ORDER BY code <~> {literal(query)}, id) x"
    with psycopg.connect(servers().standby.conninfo(), autocommit=True) as replica:
        wait_for_replay(servers().primary.conninfo(), servers().standby.conninfo())
        check(replica)
        scan(replica, query)
        assert replica.execute(ask).fetchone() == conn.execute(ask).fetchone(), "standby differs"


def finish(session: Session, step: Step, killed: bool) -> str | None:
    """Waits for a session; what went wrong that should not have."""
    try:
        session.result()
    except EXPECTED:
        pass
    except (psycopg.Error, AssertionError) as error:
        if not (killed and isinstance(error, psycopg.OperationalError)):
            return f"{step.what}: {error}"
    return None


def once(attack: Attack, rng: random.Random) -> None:
    running = servers()
    bits = rng.choice([16, 64, 200, 1024, 1024, 1024])
    queries = list(make_codes("random", 2, bits, np.random.default_rng(rng.getrandbits(32))))
    steps = [random_step(rng, number, queries[0]) for number in range(rng.choice([2, 2, 3]))]
    name = " + ".join(f"{step.what} at {step.point or '-'}:{step.after}" for step in steps)
    dsn = running.primary.conninfo()
    with connect_again(dsn) as conn:
        make_table(conn, rng, bits)
    watcher = Watcher(dsn)
    sessions = [Session(dsn, running.folder / f"hold{number}") for number in range(len(steps))]
    held = []
    try:
        for session, step in zip(sessions, steps, strict=True):
            session.start(step.job, stop_at=step.point, after=step.after)
            MET.update((point, step.what, step.point) for point in held)
            if watcher.settle(session) == "held":
                held.append(step.point)
        victim = next(
            (s for s, step in zip(sessions, steps, strict=True) if step.point in held), None
        )
        crash = rng.random() if victim else 1
        if crash < CRASH and rng.random() < 0.5:
            flush_wal(watcher.conn)
        if crash < CRASH_OF_ALL:
            kill(running.primary)
            attack.tried("kill -9 of the server at points")
        elif crash < CRASH:
            kill_backend(victim.pid, watcher.conn)
            attack.tried("kill -9 of a backend at a point")
        for session in rng.sample(sessions, len(sessions)):
            session.release()
            if crash >= CRASH:
                watcher.settle(session)
        wrong = [finish(*pair, crash < CRASH) for pair in zip(sessions, steps, strict=True)]
    finally:
        for session in sessions:
            session.close()
        watcher.close()
    if crash < CRASH_OF_ALL:
        running.primary.start()
    with connect_again(dsn) as conn:
        try:
            judge(conn, queries)
            if rng.random() < STANDBY:
                judge_standby(conn, queries[0])
                attack.tried("standby compared after races")
        except (psycopg.Error, AssertionError) as error:
            wrong.append(str(error))
    attack.tried(f"{len(steps)} sessions, {len(held)} of them held at points")
    attack.counts["different meetings (point, operation, its point)"] = len(MET)
    for fault in filter(None, wrong):
        attack.fault("index race", f"{name}: {fault}")


if __name__ == "__main__":
    run(__doc__, once)

"""A table under the hamming index, and random changes of it."""

from __future__ import annotations

import random
import threading
from functools import cache

import psycopg
from psycopg import errors

from support.attack import Attack
from support.index_server import OwnServer, kill

LENGTHS = (8, 9, 16, 31, 32, 63, 64, 64, 64, 65, 100, 128, 200, 256, 500, 512, 1000, 1024)
POOL = 1024
ROWS = (1, 7, 60, 600, 3000, 8000)
MAX_ROWS = 60_000


@cache
def server() -> OwnServer:
    return OwnServer(wal_consistency_checking="generic")


class Invalidations:
    """Another session that keeps invalidating what sessions have cached of the index."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            try:
                with server().connect() as conn:
                    while not self._stop.wait(0.001):
                        with conn.transaction():
                            conn.execute("ALTER INDEX t_code RENAME TO t_other")
                            conn.execute("ALTER INDEX t_other RENAME TO t_code")
            except psycopg.Error:
                pass  # the index is being rebuilt, or the server restarts


class FuzzedTable:
    """Table ``t`` with index ``t_code``, and a pool of codes to draw from."""

    def __init__(self, attack: Attack, rng: random.Random):
        self.attack, self.rng = attack, rng
        self.bits = rng.choice(LENGTHS)
        self.next_id = 0
        self.log: list[str] = []
        self.conn = server().connect()
        self.invalidations: Invalidations | None = None
        kind = rng.choice(["random", "clustered", "few"])
        centres = [rng.getrandbits(self.bits) for _ in range(rng.choice([1, 3, 12]))]
        pool = [
            rng.getrandbits(self.bits) if kind == "random" else rng.choice(centres)
            ^ (rng.getrandbits(self.bits) & rng.getrandbits(self.bits) & rng.getrandbits(self.bits)
               if kind == "clustered" else 0)
            for _ in range(POOL)
        ]  # fmt: skip
        self.pool = [format(code, f"0{self.bits}b") for code in pool]
        self.nulls = rng.choice([1, 5, 50, 10**9])
        logged = rng.choice(["", "", "", "UNLOGGED"])
        self.conn.execute("DROP TABLE IF EXISTS t, pool")
        self.conn.execute(f"CREATE TABLE pool (slot integer PRIMARY KEY, code bit({self.bits}))")
        with self.conn.cursor().copy("COPY pool FROM STDIN") as copy:
            copy.write("".join(f"{slot}\t{code}\n" for slot, code in enumerate(self.pool)))
        self.conn.execute(
            f"CREATE {logged} TABLE t (id bigint, n integer, note integer, code bit({self.bits}))"
            f" WITH (fillfactor = {rng.choice([30, 90, 100])}, parallel_workers = {rng.choice([0, 2])})"
        )
        # Codes stored out of line are fetched while entries are built, which reads the catalog.
        self.is_toasted = self.bits >= 256 and rng.random() < 0.5
        if self.is_toasted:
            self.conn.execute("ALTER TABLE t ALTER code SET STORAGE EXTERNAL, ADD filler text"
                              " STORAGE PLAIN DEFAULT repeat('x', 2200)")  # fmt: skip
        self.conn.execute("CREATE INDEX t_n ON t (n)")
        if rng.random() < 0.5:
            self.insert()
        self.conn.execute("CREATE INDEX t_code ON t USING hamming (code)")
        if self.is_toasted or rng.random() < 0.1:
            self.invalidations = Invalidations()

    def close(self) -> None:
        if self.invalidations:
            self.invalidations.stop()
        self.conn.close()

    def change(self, statement: str) -> None:
        rows = self.conn.execute(statement).rowcount
        self.attack.tried("row changes", max(rows, 0))

    def some(self) -> str:
        divisor = self.rng.choice([1, 2, 3, 10, 100])
        return f"hashint8extended(id, {self.rng.getrandbits(30)}) % {divisor} = 0"

    def new_code(self, number: str) -> str:
        """A code of the pool by a hash; sometimes null, sometimes far from all others."""
        salt = self.rng.getrandbits(30)
        drawn = f"(SELECT p.code FROM pool p WHERE p.slot = hashint8extended({number}, {salt}) & {POOL - 1})"
        if self.rng.random() < 0.2:
            drawn = f"~{drawn}"
        return (
            f"CASE WHEN hashint8extended({number}, {salt + 1}) % {self.nulls} <> 0 THEN {drawn} END"
        )

    def insert(self, rows: int | None = None) -> None:
        rows = rows or self.rng.choice(ROWS[:-2] if self.is_toasted else ROWS)
        first, self.next_id = self.next_id, self.next_id + rows
        self.change(
            f"INSERT INTO t (id, n, note, code) SELECT g, g % 50, 0, {self.new_code('g')} "
            f"FROM generate_series({first}::bigint, {first + rows - 1}) g"
        )

    def copy(self) -> None:
        rows = self.rng.choice([1, 400])
        lines = [
            f"{self.next_id + i}\t{i % 50}\t0\t{self.rng.choice(self.pool)}\n" for i in range(rows)
        ]
        with self.conn.cursor().copy("COPY t (id, n, note, code) FROM STDIN") as copy:
            copy.write("".join(lines))
        self.next_id += rows
        self.attack.tried("row changes", rows)

    def update_code(self) -> None:
        self.change(f"UPDATE t SET code = {self.new_code('id')} WHERE {self.some()}")

    def update_number(self) -> None:
        self.change(f"UPDATE t SET n = (n + 1) % 50 WHERE {self.some()}")

    def update_hot(self) -> None:
        self.change(f"UPDATE t SET note = note + 1 WHERE {self.some()}")

    def delete(self) -> None:
        self.change(f"DELETE FROM t WHERE {self.some()}")

    def vacuum(self) -> None:
        options = self.rng.choice(
            ["", "(INDEX_CLEANUP ON)", "(FREEZE)", "(FULL)", "(INDEX_CLEANUP OFF)"]
        )
        try:
            self.conn.execute(f"VACUUM {options} t")
        except errors.InternalError_ as error:
            # Others prune the catalog without regard to a VACUUM's snapshot, so PostgreSQL's own reload of
            # a renamed index may miss its row.
            if self.invalidations is None or "could not find pg_class tuple" not in str(error):
                raise
        self.attack.tried("vacuums")

    def reindex(self) -> None:
        try:
            self.conn.execute(f"REINDEX INDEX {self.rng.choice(['', 'CONCURRENTLY'])} t_code")
        except errors.DeadlockDetected:  # with the session that renames the index
            self._repair_index()
        self.attack.tried("reindexes")

    def truncate(self) -> None:
        self.conn.execute("TRUNCATE t")

    def any_change(self) -> None:
        name = self.rng.choice(
            ["insert", "copy", "update_code", "update_number", "update_hot", "delete"]
        )
        self.log.append(f"  {name}")
        getattr(self, name)()

    def roll_back(self) -> None:
        with self.conn.transaction(force_rollback=True):
            for _ in range(self.rng.choice([1, 2, 3])):
                self.any_change()
        self.attack.tried("rollbacks")

    def savepoints(self) -> None:
        with self.conn.transaction(force_rollback=self.rng.random() < 0.3):
            for _ in range(self.rng.choice([2, 4])):
                with self.conn.transaction(force_rollback=self.rng.random() < 0.5):
                    self.any_change()
                if self.rng.random() < 0.5:
                    self.compare()
        self.attack.tried("savepoints")

    def cancel(self) -> None:
        self.conn.execute(f"SET statement_timeout = {self.rng.choice([1, 3, 10, 40])}")
        try:
            self.rng.choice([self.any_change, self.vacuum, self.reindex])()
        except errors.QueryCanceled:
            self.attack.tried("cancelled statements")
        finally:
            self._end_timeout()
            self._repair_index()

    def _repair_index(self) -> None:
        """Repairs the index after an interrupted REINDEX CONCURRENTLY."""
        self.conn.execute("DROP INDEX IF EXISTS t_code_ccnew, t_code_ccold")
        if not self.conn.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_code'::regclass").fetchone()[0]:  # fmt: skip
            self.conn.execute("REINDEX INDEX t_code")

    def _end_timeout(self) -> None:
        while True:
            try:
                self.conn.execute("SET statement_timeout = 0")
                return
            except errors.QueryCanceled:
                pass

    def crash(self) -> None:
        if self.rng.random() < 0.5:
            self.conn.execute("CHECKPOINT")
        if self.rng.random() < 0.5:
            self.any_change()
        self.conn.execute("BEGIN")
        self.any_change()
        kill(self.conn, server().dsn)
        self.conn = server().connect()
        self.attack.tried("kill -9 of a backend")

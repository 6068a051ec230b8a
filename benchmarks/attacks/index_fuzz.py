"""Changes a table with the hamming index at random and compares answers with a sequential scan.

Starts a temporary PostgreSQL 18.  A call creates a table of codes of one length (with nulls and
duplicates) and takes about twenty steps: insertions, COPY, updates of the code, of another indexed
column and of neither (HOT), deletions, VACUUM, REINDEX, rollbacks, savepoints, cancelled statements,
TRUNCATE, kill -9 of the backend; for some tables another session keeps invalidating relation caches.
Between steps it compares distances and blocks of ``ORDER BY code <~> q``, ids of
``ORDER BY code <~> q, id``, rows selected by hamming_nearest, and hamming_check.

    python benchmarks/attacks/index_fuzz.py --minutes 60
"""

from __future__ import annotations

import random

from psycopg import errors
from support.attack import Attack, run
from support.fuzzed_table import MAX_ROWS, FuzzedTable

STEPS = 20


class Round(FuzzedTable):
    """One table through its steps, its answers compared."""

    def ask(self, statement: str, *, by_index: bool) -> list[tuple]:
        for path in ("indexscan", "seqscan", "bitmapscan"):
            self.conn.execute(f"SET LOCAL enable_{path} = {(path == 'indexscan') == by_index}")
        if by_index:
            plan = "\n".join(line for (line,) in self.conn.execute(f"EXPLAIN {statement}"))
            assert "Index Scan using t_code" in plan, plan
        return self.conn.execute(statement).fetchall()

    def compare(self) -> None:
        query = self.rng.choice([self.rng.choice(self.pool), format(self.rng.getrandbits(self.bits), f"0{self.bits}b")])  # fmt: skip
        distance = f"code <~> B'{query}'"
        k = self.rng.choice([1, 10, 63, 64, 65, 600, 5000, 10**6])
        with self.conn.transaction():
            pairs = (
                (f"SELECT {distance} AS d, split_part(ctid::text, ',', 1) FROM t ORDER BY {distance} LIMIT {k}",
                 f"SELECT {distance} AS d, split_part(ctid::text, ',', 1) FROM t ORDER BY d, ctid LIMIT {k}"),
                (f"SELECT {distance} AS d, id FROM t ORDER BY {distance}, id LIMIT {k}",) * 2,
            )  # fmt: skip
            for indexed, plain in pairs[: self.rng.choice([1, 2])]:
                found = self.ask(indexed, by_index=True)
                wanted = self.ask(plain, by_index=False)
                if found != wanted:
                    at = next((i for i, p in enumerate(zip(found, wanted, strict=False)) if p[0] != p[1]), -1)  # fmt: skip
                    self.fault(
                        f"{indexed}: {len(found)} rows, {len(wanted)} wanted, differ at {at}"
                    )
                self.attack.tried("answers compared")
        self.compare_selected(query, k)

    def compare_selected(self, query: str, k: int) -> None:
        """The answer has all ties of the k-th, and old versions of rows may lead from the other
        index to rows that miss the condition."""
        low, far = self.rng.randrange(50), self.rng.choice([None, self.bits // 3, 2**31 - 1])
        distance = f"(code <~> B'{query}')::integer"
        with self.conn.transaction():
            tids, found = self.conn.execute(
                f"SELECT tids::text[], distances FROM hamming_nearest('t_code', B'{query}', %s, %s, 1000000,"
                f" name 'n', '>=(integer,integer)'::regoperator, {low})", [k, far]
            ).fetchone()  # fmt: skip
            valid = self.conn.execute(
                f"SELECT {distance}, id FROM t WHERE ctid = ANY (%s::tid[]) AND n >= {low} ORDER BY 1, 2",
                [tids],
            ).fetchall()
            last = found[-1] if len(found) >= k else self.bits
            wanted = self.conn.execute(
                f"SELECT {distance}, id FROM t WHERE n >= {low} AND {distance} <= %s ORDER BY 1, 2",
                [min(last, self.bits if far is None else far)],
            ).fetchall()
        if valid != wanted:
            self.fault(
                f"hamming_nearest n >= {low}, k {k}, far {far}: {len(valid)}, not {len(wanted)}"
            )
        self.attack.tried("answers compared")

    def check(self) -> None:
        try:
            if self.rng.random() < 0.5:
                self.conn.execute("SELECT hamming_check('t_code')")
            else:
                self.conn.execute("SELECT hamming_check_pages('t_code', %s, %s, 0.5)",
                                  [self.rng.choice([0, 3]), self.rng.choice([None, 5])])  # fmt: skip
        except errors.IndexCorrupted as error:
            self.fault(f"{error} {error.diag.message_detail}")
        self.attack.tried("index checks")

    def fault(self, what: str) -> None:
        self.attack.fault(
            "index fuzz", f"bit({self.bits}) after {', '.join(self.log)}: {what[:500]}"
        )


WEIGHTS = {
    "insert": 20, "copy": 4, "update_code": 8, "update_number": 6, "update_hot": 6, "delete": 6,
    "vacuum": 10, "reindex": 3, "truncate": 1, "roll_back": 6, "savepoints": 6, "cancel": 6,
    "crash": 0.7, "compare": 14, "check": 4,
}  # fmt: skip


def once(attack: Attack, rng: random.Random) -> None:
    table = Round(attack, rng)
    try:
        for _ in range(STEPS):
            (name,) = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
            if table.conn.execute("SELECT count(*) FROM t").fetchone()[0] > (
                4000 if table.is_toasted else MAX_ROWS
            ):
                name = "truncate"
            table.log.append(name)
            getattr(table, name)()
        table.vacuum()
        table.compare()
        table.check()
    finally:
        table.close()


if __name__ == "__main__":
    run(__doc__, once)

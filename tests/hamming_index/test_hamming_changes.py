"""The hamming index follows its table: whatever is done, it gives what the table gives."""

import numpy as np
import psycopg
import pytest
from hamming_cases import by_heap, by_index, check, fill, literal, make_codes, nearest


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def agrees(db, query) -> bool:
    check(db)
    return by_index(db, query) == by_heap(db, query)


def test_deletes_updates_and_vacuum(db, rng):
    codes = make_codes("clustered", 6000, 64, rng)
    fill(db, codes)
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    db.execute("DELETE FROM t WHERE id % 3 = 0")
    db.execute("UPDATE t SET code = ~code WHERE id % 3 = 1")
    assert agrees(db, codes[1])
    db.execute("VACUUM t")
    assert agrees(db, codes[1])
    assert db.execute("SELECT entries FROM hamming_stats('t_code')").fetchone() == (4000,)
    tuples = db.execute("SELECT reltuples FROM pg_class WHERE relname = 't_code'").fetchone()
    assert tuples == (4000,)


def test_space_freed_by_vacuum_is_reused(db, rng):
    codes = make_codes("random", 6000, 64, rng)
    fill(db, codes)
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    before = db.execute("SELECT data_pages FROM hamming_stats('t_code')").fetchone()
    for _ in range(3):
        db.execute("DELETE FROM t")
        db.execute("VACUUM t")
        fill(db, codes)
        assert agrees(db, codes[1])
    assert db.execute("SELECT data_pages FROM hamming_stats('t_code')").fetchone() <= before


def test_vacuum_tightens_the_bounds(db, rng):
    near = make_codes("equal", 3000, 64, rng)
    fill(db, near)
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    fill(db, 1 - near, first=3000)
    db.execute("DELETE FROM t WHERE id < 3000")
    db.execute("VACUUM t")
    check(db)
    share = f"SELECT hamming_skipped('t_code', {literal(near[0])})"
    assert 0.4 < db.execute(share).fetchone()[0] < 1


@pytest.mark.parametrize(("bits", "similar"), [(64, 600), (1024, 100)])
def test_insertions_in_an_order_of_similar_codes_keep_bounds_tight(db, rng, bits, similar):
    """The first codes on a page once took all of its balls, and the rest widened these."""
    centres = make_codes("random", 40, bits, rng)
    codes = np.repeat(centres, similar, axis=0)
    codes ^= (rng.random(codes.shape) < 0.1).astype(np.uint8)
    fill(db, codes[:0])
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    fill(db, codes)
    share = f"SELECT hamming_skipped('t_code', {literal(codes[2000])})"
    assert db.execute(share).fetchone()[0] > 0.6
    assert agrees(db, codes[2000])


def test_rolled_back_rows_are_not_visible(db, rng):
    codes = make_codes("random", 2000, 64, rng)
    fill(db, codes)
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    with pytest.raises(ZeroDivisionError), db.transaction():
        fill(db, codes, first=2000)
        db.execute("DELETE FROM t WHERE id < 1000")
        assert len(by_index(db, codes[0])) == 3000
        raise ZeroDivisionError
    assert agrees(db, codes[0])
    with db.transaction():
        with pytest.raises(ZeroDivisionError), db.transaction():
            fill(db, codes[:700], first=5000)
            raise ZeroDivisionError
        fill(db, codes[:100], first=6000)
        assert by_index(db, codes[0]) == by_heap(db, codes[0])
    db.execute("VACUUM t")
    assert agrees(db, codes[0])
    assert len(by_index(db, codes[0])) == 2100


@pytest.mark.parametrize("how", ["", "CONCURRENTLY"])
def test_reindex(db, rng, how):
    codes = make_codes("clustered", 5000, 128, rng)
    fill(db, codes[:2000])
    db.execute(f"CREATE INDEX {how} t_code ON t USING hamming (code)")
    fill(db, codes[2000:], first=2000)
    db.execute("DELETE FROM t WHERE id % 5 = 0")
    db.execute(f"REINDEX INDEX {how} t_code")
    assert agrees(db, codes[4])
    assert db.execute("SELECT entries FROM hamming_stats('t_code')").fetchone() == (4000,)


def test_a_build_larger_than_maintenance_work_mem(db, rng):
    codes = make_codes("clustered", 20_000, 1024, rng)
    fill(db, codes)
    db.execute("SET maintenance_work_mem = '1MB'")
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    check(db)
    assert by_index(db, codes[0], where="id < 5000") == nearest(
        codes[:5000], np.arange(5000), codes[0]
    )


@pytest.mark.parametrize("kind", ["UNLOGGED", "TEMPORARY"])
def test_unlogged_and_temporary_tables(db, rng, kind):
    db.execute(f"CREATE {kind} TABLE t (id bigint, code bit(64))")
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    codes = make_codes("random", 1500, 64, rng)
    fill(db, codes)
    assert agrees(db, codes[0])
    db.execute("TRUNCATE t")
    assert agrees(db, codes[0])
    fill(db, codes[:10])
    assert agrees(db, codes[0])


def test_an_index_made_and_filled_in_one_transaction(db, rng):
    codes = make_codes("random", 1500, 64, rng)
    with db.transaction():
        db.execute("CREATE TABLE t (id bigint, code bit(64))")
        fill(db, codes[:700])
        db.execute("CREATE INDEX t_code ON t USING hamming (code)")
        fill(db, codes[700:], first=700)
        assert by_index(db, codes[0]) == nearest(codes, np.arange(1500), codes[0])
    assert agrees(db, codes[0])


def test_hot_updates_and_partitions(db, rng):
    db.execute("CREATE TABLE p (id bigint, code bit(32), n int) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (500) WITH (fillfactor = 50)")
    db.execute("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (500) TO (1000)")
    db.execute("CREATE INDEX ON p USING hamming (code)")
    fill(db, make_codes("few", 1000, 32, rng), table="made")
    db.execute("INSERT INTO p SELECT id, code, 0 FROM made")
    db.execute("UPDATE p SET n = 1 WHERE id % 2 = 0")
    check(db, "p1_code_idx")
    check(db, "p2_code_idx")
    query = np.zeros(32, np.uint8)
    assert by_index(db, query, table="p", where="n = 1") == by_heap(
        db, query, table="p", where="n = 1"
    )


class Model:
    """A table beside a dictionary that should hold the same."""

    def __init__(self, db: psycopg.Connection, rng: np.random.Generator, bits: int):
        self.db, self.rng, self.bits = db, rng, bits
        self.rows: dict[int, np.ndarray] = {}
        self.next = 0
        fill(db, np.zeros((0, bits), np.uint8))
        db.execute("CREATE INDEX t_code ON t USING hamming (code)")

    def insert(self) -> None:
        count = int(self.rng.integers(1, 900))
        kind = self.rng.choice(["random", "clustered", "equal", "few"])
        codes = make_codes(kind, count, self.bits, self.rng)
        fill(self.db, codes, first=self.next)
        self.rows |= dict(enumerate(codes, self.next))
        self.next += count

    def delete(self) -> None:
        divisor = int(self.rng.integers(2, 6))
        self.db.execute(f"DELETE FROM t WHERE id % {divisor} = 0")
        self.rows = {number: code for number, code in self.rows.items() if number % divisor}

    def delete_most(self) -> None:
        self.db.execute("DELETE FROM t WHERE id % 10 <> 1")
        self.rows = {number: code for number, code in self.rows.items() if number % 10 == 1}

    def update(self) -> None:
        divisor = int(self.rng.integers(2, 6))
        self.db.execute(f"UPDATE t SET code = ~code WHERE id % {divisor} = 0")
        for number in self.rows:
            if number % divisor == 0:
                self.rows[number] = 1 - self.rows[number]

    def roll_back(self) -> None:
        with self.db.transaction(force_rollback=True):
            fill(self.db, make_codes("random", 300, self.bits, self.rng), first=self.next)
            self.db.execute("DELETE FROM t WHERE id % 2 = 0")

    def vacuum(self) -> None:
        self.db.execute("VACUUM t")

    def reindex(self) -> None:
        self.db.execute("REINDEX INDEX t_code")

    def query(self) -> None:
        ids = np.array(list(self.rows), np.int64)
        codes = np.array(list(self.rows.values()), np.uint8).reshape(len(ids), self.bits)
        query = make_codes("random", 1, self.bits, self.rng)[0]
        if len(ids) and self.rng.random() < 0.7:
            query = codes[self.rng.integers(len(ids))]
        assert by_index(self.db, query) == nearest(codes, ids, query)
        check(self.db)


@pytest.mark.parametrize(("seed", "bits"), [(1, 64), (2, 16), (3, 264), (4, 1024)])
def test_any_sequence_of_changes(db, seed, bits):
    model = Model(db, np.random.default_rng(seed), bits)
    steps = ["insert", "delete", "delete_most", "update", "roll_back", "vacuum", "reindex", "query"]
    odds = [0.3, 0.08, 0.05, 0.05, 0.08, 0.2, 0.02, 0.22]
    for step in model.rng.choice(steps, 40, p=odds):
        getattr(model, step)()
    model.vacuum()
    model.query()

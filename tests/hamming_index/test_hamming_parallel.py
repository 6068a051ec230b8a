"""Building by several processes: the same answers, and alone where that is not possible."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
from hamming_cases import by_heap, by_index, check, fill, literal, make_codes


@pytest.fixture
def parallel(db):
    """Two workers for tables of any size; gives a list of what the server says of them."""
    said = []
    db.execute("SET min_parallel_table_scan_size = 0")
    db.execute("SET maintenance_work_mem = '256MB'")
    db.execute("SET max_parallel_maintenance_workers = 2")
    db.execute("SET client_min_messages = debug1")
    db.add_notice_handler(lambda diagnostic: said.append(diagnostic.message_primary))
    return said


def filled(db, kind, count, bits=64):
    codes = make_codes(kind, count, bits, np.random.default_rng(17))
    fill(db, codes)
    db.execute("ALTER TABLE t SET (parallel_workers = 2)")
    db.execute("INSERT INTO t SELECT -n, NULL FROM generate_series(1, 700) n")
    return codes


def build(db, how="CREATE INDEX t_code ON t USING hamming (code)"):
    db.execute(how)
    check(db)


@pytest.mark.parametrize("kind", ["random", "clustered", "equal", "few"])
@pytest.mark.parametrize("count", [0, 300, 9000])
def test_results_equal_brute_force(db, parallel, kind, count):
    codes = filled(db, kind, count)
    build(db)
    if db.info.server_version >= 170000:
        assert any("with request for 2 parallel workers" in line for line in parallel)
    for query in (make_codes("random", 1, 64, np.random.default_rng(3))[0], *codes[:2]):
        assert by_index(db, query) == by_heap(db, query)


def test_a_parallel_build_of_long_codes(db, parallel):
    codes = filled(db, "clustered", 3000, bits=200)
    build(db)
    assert by_index(db, codes[1]) == by_heap(db, codes[1])


def test_create_concurrently_and_reindex(db, parallel):
    codes = filled(db, "clustered", 5000)
    build(db, "CREATE INDEX CONCURRENTLY t_code ON t USING hamming (code)")
    db.execute("DELETE FROM t WHERE id % 3 = 0")
    build(db, "REINDEX INDEX CONCURRENTLY t_code")
    build(db, "REINDEX INDEX t_code")
    assert by_index(db, codes[1]) == by_heap(db, codes[1])


def test_the_leader_builds_alone_if_the_table_has_more_rows_than_expected(db, parallel):
    codes = filled(db, "clustered", 30_000)
    db.execute("ANALYZE t")
    db.execute("UPDATE pg_class SET reltuples = relpages WHERE oid = 't'::regclass")
    build(db)
    assert db.execute("SELECT entries, nulls FROM hamming_stats('t_code')").fetchone() == (
        30_700,
        700,
    )
    assert by_index(db, codes[1]) == by_heap(db, codes[1])


def test_an_error_in_the_middle_leaves_nothing_behind(db, parallel):
    filled(db, "clustered", 9000)
    db.execute("CREATE FUNCTION code_of(bit) RETURNS bit IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql"
               " AS $$ BEGIN IF $1 IS NULL THEN RAISE 'no code'; END IF; RETURN $1; END $$")  # fmt: skip
    with pytest.raises(psycopg.Error, match="no code"):
        db.execute("CREATE INDEX t_code ON t USING hamming ((code_of(code)::bit(64)))")
    assert db.execute("SELECT to_regclass('t_code')").fetchone() == (None,)
    build(db)


def test_an_older_snapshot_does_not_use_an_index_with_broken_hot_chains(db, dsn_of_db, parallel):
    """Both versions of such a row may be of one HOT chain, which has one entry."""
    db.execute("CREATE TABLE t (id bigint, code bit(64)) WITH (fillfactor = 50, parallel_workers = 2)")  # fmt: skip
    codes = make_codes("clustered", 3000, 64, np.random.default_rng(17))
    fill(db, codes)
    nearest = f"SELECT id FROM t ORDER BY code <~> {literal(codes[1])} LIMIT 1"
    with psycopg.connect(dsn_of_db) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1")
        db.execute("UPDATE t SET code = ~code WHERE id = 1")
        build(db)
        old.execute("SET LOCAL enable_seqscan = off")
        assert old.execute(nearest).fetchone() == (1,)


@pytest.mark.parametrize("claimed", ["Infinity", "NaN", "-5", "3e38", "1.4757397e19", "1e12", "0"])
def test_wrong_statistics_do_not_undersize_shared_memory(db, parallel, claimed):
    """pgvector's CVE-2026-3172: the size of the memory that the workers share wrapped around, and
    they wrote beyond its end.  Here that size comes from statistics, which the owner of the table can
    set from PostgreSQL 18 on, and from maintenance_work_mem."""
    codes = filled(db, "clustered", 12_000)
    db.execute("SET maintenance_work_mem = '2147483647kB'")
    db.execute(
        "UPDATE pg_class SET reltuples = %s, relpages = 1 WHERE oid = 't'::regclass", [claimed]
    )
    build(db)
    assert db.execute("SELECT entries FROM hamming_stats('t_code')").fetchone() == (12_700,)
    assert by_index(db, codes[1]) == by_heap(db, codes[1])

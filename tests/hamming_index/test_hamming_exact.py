"""The hamming index gives what brute force gives."""

import numpy as np
import psycopg
import pytest
from hamming_cases import by_index, check, fill, literal, make_codes, nearest, text

LENGTHS = [8, 16, 24, 64, 100, 128, 512, 1024]


@pytest.mark.parametrize("kind", ["random", "clustered", "equal", "few"])
@pytest.mark.parametrize("bits", LENGTHS)
def test_a_full_scan_returns_all_rows_by_distance(db, kind, bits):
    rng = np.random.default_rng([bits, len(kind)])
    codes = make_codes(kind, 1500, bits, rng)
    fill(db, codes[:1200])
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    fill(db, codes[1200:], first=1200)
    check(db)
    ids = np.arange(len(codes))
    for query in (codes[7], make_codes("random", 1, bits, rng)[0]):
        assert by_index(db, query) == nearest(codes, ids, query)


@pytest.mark.parametrize("bits", [16, 64, 200])
def test_a_mask_on_codes_and_query_changes_nothing(db, bits):
    rng = np.random.default_rng(bits)
    codes = make_codes("clustered", 3000, bits, rng)
    mask, query = make_codes("random", 2, bits, rng)
    fill(db, codes)
    fill(db, codes ^ mask, table="masked")
    db.execute("CREATE INDEX ON t USING hamming (code)")
    db.execute("CREATE INDEX ON masked USING hamming (code)")
    assert by_index(db, query) == by_index(db, query ^ mask, table="masked")


def test_ties_are_ordered_by_tid(db):
    fill(db, make_codes("equal", 3000, 64, np.random.default_rng(0)))
    db.execute("CREATE INDEX ON t USING hamming (code)")
    db.execute("SET enable_seqscan = off")
    rows = db.execute("SELECT ctid::text FROM t ORDER BY code <~> %s::bit(64)", ["1" * 64])
    places = [tuple(map(int, ctid.strip("()").split(","))) for (ctid,) in rows]
    assert len(places) == 3000 and places == sorted(places)


@pytest.mark.parametrize("k", [1, 10, 63, 64, 65, 600, 5000])
def test_limits_with_and_without_ties(db, k):
    rng = np.random.default_rng(1)
    codes = make_codes("clustered", 5000, 64, rng)
    fill(db, codes)
    db.execute("CREATE INDEX ON t USING hamming (code)")
    db.execute("ANALYZE t; SET enable_seqscan = off")
    expected = nearest(codes, np.arange(5000), codes[0])[:k]
    distance = f"code <~> {literal(codes[0])}"

    ties = f"SELECT id, {distance} AS d FROM t ORDER BY 2 FETCH FIRST {k} ROWS WITH TIES"
    statement = f"SELECT id FROM ({ties}) near ORDER BY d, id LIMIT {k}"
    plan = "\n".join(line for (line,) in db.execute(f"EXPLAIN {statement}"))
    assert "Index Scan using t_code_idx" in plan
    assert [number for (number,) in db.execute(statement)] == expected

    statement = f"SELECT id FROM t ORDER BY {distance}, id LIMIT {k}"
    plan = "\n".join(line for (line,) in db.execute(f"EXPLAIN {statement}"))
    if db.info.server_version >= 170000:
        assert "Incremental Sort" in plan and "Index Scan using t_code_idx" in plan
    assert [number for (number,) in db.execute(statement)] == expected


@pytest.mark.parametrize("work_mem", ["64kB", "4MB"])
def test_filtered_scans_return_every_matching_row(db, work_mem):
    rng = np.random.default_rng(2)
    codes = make_codes("random", 20_000, 64, rng)
    fill(db, codes)
    db.execute("CREATE INDEX ON t USING hamming (code)")
    db.execute(f"SET work_mem = '{work_mem}'")
    query = codes[3]
    ids = np.arange(20_000)
    rare = nearest(codes, ids, query)[::-1][0]
    assert by_index(db, query, where=f"id = {rare}") == [rare]
    some = ids % 400 == 7
    assert by_index(db, query, where="id % 400 = 7") == nearest(codes[some], ids[some], query)


def test_rows_without_a_code_come_last(db):
    rng = np.random.default_rng(3)
    codes = make_codes("random", 700, 32, rng)
    fill(db, codes)
    db.execute("INSERT INTO t SELECT 1000 + i, NULL FROM generate_series(1, 1500) i")
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    db.execute("INSERT INTO t SELECT 3000 + i, NULL FROM generate_series(1, 5) i")
    check(db)
    null_ids = [*range(1001, 2501), *range(3001, 3006)]
    assert by_index(db, codes[0]) == nearest(codes, np.arange(700), codes[0]) + null_ids
    assert by_index(db, codes[0], where="code IS NULL") == null_ids
    stats = db.execute("SELECT entries, nulls FROM hamming_stats('t_code')").fetchone()
    assert stats == (2205, 1505)
    db.execute("DELETE FROM t WHERE code IS NOT NULL")
    db.execute("VACUUM t")
    check(db)
    assert by_index(db, codes[0]) == null_ids


def test_a_null_query_returns_every_row(db):
    fill(db, make_codes("random", 1000, 64, np.random.default_rng(4)))
    db.execute("INSERT INTO t VALUES (1000, NULL)")
    db.execute("CREATE INDEX ON t USING hamming (code)")
    db.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
    db.execute("PREPARE by_code(bit) AS SELECT id FROM t ORDER BY code <~> $1")
    assert "Index Scan" in str(db.execute("EXPLAIN EXECUTE by_code(NULL)").fetchall())
    rows = db.execute("EXECUTE by_code(NULL)").fetchall()
    assert sorted(number for (number,) in rows) == list(range(1001))


def test_rescans_within_one_query(db):
    rng = np.random.default_rng(5)
    codes = make_codes("clustered", 2000, 64, rng)
    fill(db, codes)
    fill(db, codes[:30], table="q")
    db.execute("CREATE INDEX ON t USING hamming (code)")
    db.execute("ANALYZE; SET enable_seqscan = off")
    rows = db.execute(
        "SELECT q.id, array(SELECT t.id FROM t ORDER BY t.code <~> q.code, t.id LIMIT 5) FROM q"
    ).fetchall()
    for number, found in rows:
        assert found == nearest(codes, np.arange(2000), codes[number])[:5]


def test_a_cursor_keeps_its_snapshot(db):
    rng = np.random.default_rng(6)
    codes = make_codes("random", 3000, 64, rng)
    fill(db, codes)
    db.execute("CREATE INDEX ON t USING hamming (code)")
    db.execute("SET enable_seqscan = off")
    with db.transaction(), db.cursor(name="kept") as cursor:
        cursor.execute(f"SELECT id FROM t ORDER BY code <~> {literal(codes[0])}, id")
        found = cursor.fetchmany(100)
        fill(db, make_codes("random", 800, 64, rng), first=3000)
        db.execute("DELETE FROM t WHERE id % 2 = 0")
        found += cursor.fetchall()
    assert [number for (number,) in found] == nearest(codes, np.arange(3000), codes[0])


def test_an_empty_table(db):
    db.execute("CREATE TABLE t (id bigint, code bit(64))")
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    zeros = np.zeros(64, np.uint8)
    check(db)
    assert by_index(db, zeros) == []
    assert db.execute(f"SELECT hamming_skipped('t_code', {literal(zeros)})").fetchone() == (0,)
    fill(db, zeros[None])
    check(db)
    assert by_index(db, zeros) == [0]


@pytest.mark.parametrize(
    ("column", "reported"),
    [
        ("bit varying", "is of type bit varying"),
        ("bit varying(64)", "is of type bit varying"),
        ("bit(7)", "has 7 bits"),
        ("bit", "has 1 bits"),
        ("bit(1025)", "has 1025 bits"),
    ],
)
def test_columns_that_cannot_be_indexed(db, column, reported):
    db.execute(f"CREATE TABLE t (id bigint, code {column})")
    with pytest.raises(psycopg.Error, match=reported) as raised:
        db.execute("CREATE INDEX ON t USING hamming (code)")
    assert raised.value.diag.message_hint


def test_more_than_one_column_cannot_be_indexed(db):
    db.execute("CREATE TABLE t (id bigint, code bit(64))")
    with pytest.raises(psycopg.Error, match="does not support multicolumn"):
        db.execute("CREATE INDEX ON t USING hamming (code, code)")


def test_codes_of_another_length_are_refused(db):
    db.execute("CREATE TABLE t (id bigint, code bit(64))")
    db.execute("CREATE INDEX ON t USING hamming (code)")
    db.execute(f"INSERT INTO t VALUES (1, B'{'1' * 64}')")
    db.execute("SET enable_seqscan = off")
    with pytest.raises(psycopg.Error, match="different bit lengths 64 and 3") as raised:
        db.execute("SELECT id FROM t ORDER BY code <~> B'101'")
    assert "64 bits" in raised.value.diag.message_hint


def test_a_column_of_type_bit_varying_by_an_expression(db):
    db.execute("CREATE TABLE t (id bigint, code bit varying)")
    db.execute("CREATE INDEX ON t USING hamming ((code::bit(64)))")
    db.execute(f"INSERT INTO t VALUES (1, B'{'1' * 64}'), (2, B'101')")
    db.execute("SET enable_seqscan = off")
    order = "code::bit(64) <~> B'1'::bit(64)"
    assert db.execute(f"SELECT id FROM t ORDER BY {order}").fetchall() == [(2,), (1,)]


def test_expression_and_partial_indexes(db):
    rng = np.random.default_rng(7)
    codes = make_codes("random", 1000, 64, rng)
    db.execute("CREATE TABLE t (id bigint, code text)")
    with db.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write("".join(f"{i}\t{text(code)}\n" for i, code in enumerate(codes)))
    db.execute("CREATE INDEX t_code ON t USING hamming ((code::bit(64))) WHERE id >= 500")
    check(db)
    db.execute("SET enable_seqscan = off")
    rows = db.execute(
        "SELECT id FROM t WHERE id >= 500 "
        f"ORDER BY code::bit(64) <~> {literal(codes[0])}, id LIMIT 20"
    ).fetchall()
    expected = nearest(codes[500:], np.arange(500, 1000), codes[0])[:20]
    assert [number for (number,) in rows] == expected


def test_similar_codes_share_pages_that_searches_skip(db):
    rng = np.random.default_rng(8)
    codes = make_codes("clustered", 30_000, 128, rng)
    fill(db, codes)
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    skipped = [
        db.execute(f"SELECT hamming_skipped('t_code', {literal(code)})").fetchone()[0]
        for code in codes[:10]
    ]
    assert 0.5 < np.mean(skipped) < 1
    (entries, pages, size) = db.execute(
        "SELECT entries, data_pages, pg_relation_size('t_code') FROM hamming_stats('t_code')"
    ).fetchone()
    assert entries == 30_000 and size / entries < 24
    assert pages * 8192 < size

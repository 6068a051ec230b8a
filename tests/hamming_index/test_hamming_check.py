"""hamming_check and hamming_check_pages beside others at work."""

from __future__ import annotations

import threading

import numpy as np
import psycopg
import pytest
from hamming_cases import check, fill, make_codes


@pytest.fixture
def codes():
    return make_codes("clustered", 3000, 64, np.random.default_rng(41))


@pytest.fixture
def table(db, codes):
    fill(db, codes)
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")


def test_checks_and_writers_do_not_block_each_other(db, dsn_of_db, codes, table):
    with psycopg.connect(dsn_of_db) as writer:
        db.execute("SET lock_timeout = '2s'")
        writer.execute("SET lock_timeout = '2s'")
        fill(writer, codes[:700], first=3000)
        check(db)
        writer.commit()
        with db.transaction():
            check(db)
            fill(writer, codes[:700], first=4000)
            writer.execute("DELETE FROM t WHERE id % 3 = 0")
            writer.commit()
            check(db)


def test_a_check_sees_what_its_snapshot_sees(db, dsn_of_db, codes, table):
    """Rows that were deleted and vacuumed away meanwhile, others that came in their place."""
    with psycopg.connect(dsn_of_db, autocommit=True) as writer:
        with db.transaction():
            db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            check(db)
            for first in (3000, 4000, 5000):
                writer.execute("DELETE FROM t WHERE id % 2 = 0")
                writer.execute("VACUUM t")
                fill(writer, codes[:700], first=first)
                check(db)
        writer.execute("VACUUM t")
        fill(writer, codes[:700], first=9000)
    check(db)


def test_a_check_during_reindex_concurrently(db, dsn_of_db, table):
    """Neither ends in a deadlock; an index that is gone meanwhile is said to be gone."""
    stop = threading.Event()
    raised = []

    def checks() -> None:
        with psycopg.connect(dsn_of_db, autocommit=True) as conn:
            while not stop.is_set():
                try:
                    check(conn)
                except psycopg.Error as error:
                    raised.append(error)

    thread = threading.Thread(target=checks)
    thread.start()
    try:
        for _ in range(12):
            db.execute("REINDEX INDEX CONCURRENTLY t_code")
    finally:
        stop.set()
        thread.join()
    for error in raised:
        assert isinstance(
            error, (psycopg.errors.UndefinedObject, psycopg.errors.ObjectNotInPrerequisiteState)
        ), error
        assert error.diag.message_hint
    invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    assert db.execute(invalid).fetchone() == (0,)


def test_an_index_that_was_dropped(db, table):
    (oid,) = db.execute("SELECT 't_code'::regclass::oid").fetchone()
    db.execute("DROP INDEX t_code")
    for call in ("hamming_check", "hamming_check_pages", "hamming_stats"):
        with pytest.raises(psycopg.errors.UndefinedObject, match="no longer exists"):
            db.execute(f"SELECT {call}({oid}::regclass)")


def portions(db, pages=None, sample=1.0):
    """(rows, entries) of each portion from the first page of the table to the end."""
    following = 0
    while following is not None:
        following, rows, entries = db.execute(
            "SELECT * FROM hamming_check_pages('t_code', %s, %s, %s)", [following, pages, sample]
        ).fetchone()
        yield rows, entries


def test_partial_checks_cover_the_whole_table(db, codes, table):
    fill(db, codes[:500], first=3000)
    db.execute("DELETE FROM t WHERE id % 7 = 0")
    (rows,) = db.execute("SELECT count(*) FROM t").fetchone()
    assert [*portions(db)] == [(rows, 3500)]
    parts = [*portions(db, pages=3)]
    assert len(parts) > 5
    assert sum(part for part, _ in parts) == rows
    sampled = sum(part for part, _ in portions(db, sample=0.4))
    assert 0 < sampled < rows


def test_memory_for_rows_is_bounded(db):
    codes = make_codes("random", 100_000, 16, np.random.default_rng(2))
    fill(db, codes)
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    db.execute("SET maintenance_work_mem = '1MB'")
    parts = [*portions(db)]
    assert sum(rows for rows, _ in parts) == 100_000
    assert len(parts) == 2 and all(rows < 100_000 for rows, _ in parts)
    check(db)


def test_a_partial_check_covers_the_whole_index_and_its_own_rows(db, table):
    """A row that lost its entry is found by the portion that it is in."""
    db.execute("UPDATE pg_index SET indisready = false WHERE indexrelid = 't_code'::regclass")
    db.execute("INSERT INTO t SELECT 7000 + id, code FROM t LIMIT 2000")
    db.execute("UPDATE pg_index SET indisready = true WHERE indexrelid = 't_code'::regclass")
    first = db.execute("SELECT * FROM hamming_check_pages('t_code', 0, 5)").fetchone()
    assert first[0] == 5 and first[2] == 3000
    with pytest.raises(psycopg.errors.IndexCorrupted, match="has no entry"):
        [*portions(db, pages=5)]
    with pytest.raises(psycopg.errors.IndexCorrupted, match="has no entry"):
        check(db)


@pytest.mark.parametrize(
    "arguments", ["-1", "0, 0", "0, -5", "0, NULL, 0", "0, NULL, 1.5", "0, NULL, 'NaN'", "NULL"]
)
def test_invalid_arguments_are_refused(db, table, arguments):
    with pytest.raises(psycopg.Error, match="must"):
        db.execute(f"SELECT hamming_check_pages('t_code', {arguments})")


def test_a_page_beyond_the_end(db, table):
    assert db.execute("SELECT * FROM hamming_check_pages('t_code', 99999)").fetchone() == (
        None, 0, 3000,
    )  # fmt: skip

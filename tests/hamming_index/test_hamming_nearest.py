"""hamming_nearest: the nearest of the rows that other indexes select."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
from hamming_cases import fill, literal, make_codes, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BITS = 64


@pytest.fixture
def numbered(db):
    """A table with a btree on ``day`` and a GiST index on ``place``, and its codes."""
    codes = make_codes("clustered", 4000, BITS, np.random.default_rng(5))
    fill(db, codes)
    db.execute("ALTER TABLE t ADD day integer, ADD place point")
    db.execute("UPDATE t SET day = id % 100, place = point(id % 63, id / 63)")
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    db.execute("CREATE INDEX t_day ON t (day)")
    db.execute("CREATE INDEX t_place ON t USING gist (place)")
    return codes


def selected(db, query, k, conditions, *, most=100_000, max_distance=None, where="true"):
    """(distance, id) of what hamming_nearest finds, those alone that meet ``where``."""
    tids, distances = db.execute(
        f"SELECT tids::text[], distances FROM hamming_nearest('t_code', {literal(query)}, %s, %s, %s, {conditions})",
        [k, max_distance, most],
    ).fetchone()
    if tids is None:
        return None
    assert distances == sorted(distances)
    ids = dict(
        db.execute(
            f"SELECT ctid::text, id FROM t WHERE ctid = ANY (%s::tid[]) AND {where}", [tids]
        ).fetchall()
    )
    if where == "true":
        assert len(ids) == len(tids)
    return sorted(
        (distance, ids[tid]) for tid, distance in zip(tids, distances, strict=True) if tid in ids
    )


def brute_force(codes, query, ids):
    return sorted(((codes[i] != query).sum().item(), int(i)) for i in ids)


def with_ties(rows, k):
    return [row for row in rows if row[0] <= rows[min(k, len(rows)) - 1][0]] if rows else []


def on_day(low, high):
    equal = "'>=(integer,integer)'::regoperator", "'<(integer,integer)'::regoperator"
    return f"name 'day', {equal[0]}, {low}, name 'day', {equal[1]}, {high}"


def in_box(size):
    return f"name 'place', '<@(point,box)'::regoperator, box '((0,0),({size},{size}))'"


@pytest.mark.parametrize("k", [1, 10, 60, 3000])
def test_hamming_nearest_returns_the_nearest_and_their_ties(db, numbered, k):
    ids = np.arange(4000)
    days = ids[(ids % 100 >= 20) & (ids % 100 < 27)]
    for query in numbered[:5]:
        found = selected(db, query, k, on_day(20, 27))
        assert found == with_ties(brute_force(numbered, query, days), k)


def test_conditions_on_two_columns_are_combined(db, numbered):
    ids = np.arange(4000)
    met = ids[(ids % 100 < 50) & (ids % 63 <= 30) & (ids // 63 <= 30)]
    found = selected(db, numbered[7], 20, f"{on_day(0, 50)}, {in_box(30)}")
    assert found == with_ties(brute_force(numbered, numbered[7], met), 20)


def test_more_matches_than_the_limit_return_null(db, numbered):
    assert selected(db, numbered[0], 5, on_day(3, 4), most=39) is None
    assert len(selected(db, numbered[0], 50, on_day(3, 4), most=40)) == 40
    # What one condition cannot do another can.
    found = selected(db, numbered[0], 5, f"{in_box(60)}, {on_day(3, 4)}", most=40)
    assert found == selected(db, numbered[0], 5, on_day(3, 4))


def test_a_huge_limit_allocates_only_what_matches(db, numbered):
    """Room is taken for those that do, not for all that may."""
    assert len(selected(db, numbered[0], 50, on_day(3, 4), most=2**31 - 1)) == 40


def test_a_partial_index_on_codes_is_not_used_for_all_rows(db, numbered):
    db.execute("DROP INDEX t_code")
    db.execute("CREATE INDEX t_code ON t USING hamming (code) WHERE id < 100")
    assert selected(db, numbered[0], 50, on_day(3, 4)) is None


def test_a_dropped_or_invalid_index_returns_null(db, numbered):
    """A search may have looked it up just before, with an older snapshot."""
    (oid,) = db.execute("SELECT 't_code'::regclass::oid").fetchone()
    call = f"SELECT tids FROM hamming_nearest({oid}::regclass, {literal(numbered[0])}, 5, NULL, 100, {on_day(3, 4)})"
    assert db.execute(call).fetchone() != (None,)
    db.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s", [oid])
    assert db.execute(call).fetchone() == (None,)
    db.execute("DROP INDEX t_code")
    assert db.execute(call).fetchone() == (None,)


def test_conditions_without_an_index_are_left_to_the_others(db, numbered):
    db.execute("DROP INDEX t_place")
    assert selected(db, numbered[0], 5, in_box(10)) is None
    found = selected(db, numbered[0], 5, f"{in_box(10)}, {on_day(3, 4)}")
    assert found == selected(db, numbered[0], 5, on_day(3, 4))
    db.execute("CREATE INDEX ON t USING brin (day)")
    db.execute("DROP INDEX t_day")
    db.execute("CREATE INDEX t_some ON t (day) WHERE id < 100")
    assert selected(db, numbered[0], 5, on_day(3, 4)) is None


def test_an_index_with_another_collation_than_its_column_does_not_select(db, numbered):
    db.execute('ALTER TABLE t ADD name text COLLATE "C"')
    condition = "name 'name', '<(text,text)'::regoperator, text 'Z'"
    db.execute('CREATE INDEX ON t (name COLLATE "POSIX")')
    assert selected(db, numbered[0], 5, condition) is None
    db.execute("CREATE INDEX ON t (name)")
    assert selected(db, numbered[0], 5, condition) == []


def test_within_a_distance(db, numbered):
    ids = np.arange(4000)
    near = [row for row in brute_force(numbered, numbered[0], ids[ids % 100 < 60]) if row[0] <= 20]
    assert near
    assert selected(db, numbered[0], None, on_day(0, 60), max_distance=20) == near
    assert selected(db, numbered[0], 3, on_day(0, 60), max_distance=20) == with_ties(near, 3)
    assert selected(db, numbered[0], None, on_day(0, 60), max_distance=-1) == []


@pytest.mark.parametrize("below", [30, 2500])
def test_a_max_distance_beyond_the_code_length_has_no_effect(db, below):
    """By the rows and by the index; rows without a code are in neither answer."""
    codes = make_codes("clustered", 3000, 1001, np.random.default_rng(12))
    fill(db, codes)
    db.execute("UPDATE t SET code = NULL WHERE id % 10 = 5")
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    db.execute("CREATE INDEX t_id ON t (id)")
    by_id = f"name 'id', '<(bigint,bigint)'::regoperator, bigint '{below}'"
    expected = brute_force(codes, codes[0], [i for i in range(below) if i % 10 != 5])
    for max_distance in (None, 1001, 1002, 2**31 - 1):
        found = selected(db, codes[0], None, by_id, max_distance=max_distance)
        assert found == expected
        assert selected(db, codes[0], 3000, by_id, max_distance=max_distance) == expected


def test_an_array_operand_matches_any_element(db, numbered):
    ids = np.arange(4000)
    days = "name 'day', '=(integer,integer)'::regoperator, ARRAY[7, 90, 7, NULL, -1]"
    found = selected(db, numbered[3], 15, days)
    assert found == with_ties(
        brute_force(numbered, numbered[3], ids[np.isin(ids % 100, [7, 90])]), 15
    )


def test_a_null_operand_matches_no_row(db, numbered):
    assert selected(db, numbered[0], 5, on_day("NULL::integer", 4)) == []


@pytest.mark.parametrize("kind", ["equal", "few"])
def test_all_ties_are_returned_together(db, kind):
    codes = make_codes(kind, 3000, BITS, np.random.default_rng(6))
    fill(db, codes)
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    db.execute("CREATE INDEX t_id ON t (id)")
    by_id = "name 'id', '<(bigint,bigint)'::regoperator, bigint '2500'"
    found = selected(db, codes[0], 10, by_id)
    assert found == with_ties(brute_force(codes, codes[0], range(2500)), 10)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_hamming_nearest_respects_the_snapshot(db, data):
    """After deletions, updates (also within a page), insertions, aborts and VACUUM; by the index
    and, where few rows are selected beside its pages, by the rows."""
    bits, days = data.draw(st.sampled_from([(64, 10), (1001, 40)]))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    codes = make_codes("clustered", 400, bits, rng)
    db.execute("DROP TABLE IF EXISTS t")
    db.execute(f"CREATE TABLE t (id bigint, code bit({bits}), day integer, note text)")
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    db.execute("CREATE INDEX t_day ON t (day)")
    rows = [(i, text(code), int(rng.integers(days))) for i, code in enumerate(codes)]
    db.cursor().executemany(f"INSERT INTO t VALUES (%s, %s::bit({bits}), %s)", rows)
    steps = st.sampled_from(["delete", "note", "move", "code", "abort", "vacuum"])
    for step in data.draw(st.lists(steps, max_size=6)):
        some = f"id % 7 = {rng.integers(7)}"
        if step == "delete":
            db.execute(f"DELETE FROM t WHERE {some}")
        elif step == "note":
            db.execute(f"UPDATE t SET note = 'x' WHERE {some}")
        elif step == "move":
            db.execute(f"UPDATE t SET day = (day + 3) % {days} WHERE {some}")
        elif step == "code":
            db.execute(f"UPDATE t SET code = {literal(codes[rng.integers(400)])} WHERE {some}")
        elif step == "vacuum":
            db.execute("VACUUM t")
        else:
            with db.transaction(force_rollback=True):
                db.execute(f"UPDATE t SET day = 4, code = ~code WHERE {some}")
    query = codes[rng.integers(400)]
    expected = db.execute(
        f"SELECT (code <~> {literal(query)})::integer, id FROM t WHERE day >= 2 AND day < 5 ORDER BY 1, 2"
    ).fetchall()
    # An index may still lead to rows that meet the condition no more.
    where = "day >= 2 AND day < 5"
    found = selected(db, query, 400, on_day(2, 5), where=where)
    assert found == expected


@pytest.mark.parametrize("kind", ["clustered", "equal", "few"])
def test_few_selected_rows_are_read_from_the_table(db, kind):
    codes = make_codes(kind, 3000, 1001, np.random.default_rng(9))
    fill(db, codes)
    db.execute("UPDATE t SET code = NULL WHERE id = 5")
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    db.execute("CREATE INDEX t_id ON t (id)")
    by_id = "name 'id', '<(bigint,bigint)'::regoperator, bigint '120'"
    ids = [i for i in range(120) if i != 5]
    scans = "SELECT pg_stat_get_xact_numscans('t_code'::regclass)"
    with db.transaction():
        before = db.execute(scans).fetchone()
        for query in codes[:4]:
            expected = brute_force(codes, query, ids)
            for k in (1, 10, 119, 500):
                assert selected(db, query, k, by_id) == with_ties(expected, k)
            near = [row for row in expected if row[0] <= 150]
            assert selected(db, query, None, by_id, max_distance=150) == near
            assert selected(db, query, 3, by_id, max_distance=150) == with_ties(near, 3)
        assert db.execute(scans).fetchone() == before
        by_id = by_id.replace("120", "2500")
        assert selected(db, codes[0], 10, by_id) == with_ties(
            brute_force(codes, codes[0], [i for i in range(2500) if i != 5]), 10
        )
        assert db.execute(scans).fetchone() > before


def test_selected_rows_that_lie_side_by_side_are_read_from_the_table(db):
    codes = make_codes("clustered", 20_000, BITS, np.random.default_rng(9))
    fill(db, codes)
    db.execute("ALTER TABLE t ADD part integer GENERATED ALWAYS AS (id % 100) STORED")
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    db.execute("CREATE INDEX t_id ON t (id)")
    db.execute("CREATE INDEX t_part ON t (part)")
    for condition, ids, passes in (
        ("name 'id', '<(bigint,bigint)'::regoperator, bigint '200'", range(200), 0),
        ("name 'part', '=(integer,integer)'::regoperator, 7", range(7, 20_000, 100), 1),
    ):
        with db.transaction():
            found = selected(db, codes[0], 10, condition)
            scans = db.execute("SELECT pg_stat_get_xact_numscans('t_code'::regclass)").fetchone()
        assert found == with_ties(brute_force(codes, codes[0], ids), 10)
        assert scans == (passes,)


def test_uncommitted_rows_of_others_are_not_visible(db, numbered):
    with psycopg.connect(db.info.dsn, password=db.info.password) as other:
        other.execute(f"INSERT INTO t VALUES (9999, {literal(numbered[0])}, 3)")
        assert 9999 not in [id for _, id in selected(db, numbered[0], 5, on_day(3, 4))]
        other.commit()
    assert (0, 9999) in selected(db, numbered[0], 5, on_day(3, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("'t_day', B'1', 1, NULL, 10, name 'day', '<(integer,integer)'::regoperator, 1", "is not a hamming index"),
        ("'t_code', B'1', 1, NULL, 10, name 'day', '<(integer,integer)'::regoperator, 1", "different bit lengths"),
        ("'t_code', {q}, 0, NULL, 10, name 'day', '<(integer,integer)'::regoperator, 1", "must be positive"),
        ("'t_code', {q}, 1, NULL, NULL, name 'day', '<(integer,integer)'::regoperator, 1", "must not be null"),
        ("'t_code', {q}, 1, NULL, 10, name 'night', '<(integer,integer)'::regoperator, 1", 'column "night" of relation "t" does not exist'),
        ("'t_code', {q}, 1, NULL, 10, name 'day', '<(integer,integer)'::regoperator, 1.5", "takes integer, not numeric"),
        ("'t_code', {q}, 1, NULL, 10, name 'day', '<(integer,integer)'::regoperator", "a column, an operator and an operand"),
        ("'t_code', {q}, 1, NULL, 10, 'day'::text, '<(integer,integer)'::regoperator, 1", "a name and a regoperator"),
        ("'t_code', {q}, 1, NULL, 10, VARIADIC ARRAY[1, 2, 3]", "a column, an operator and an operand"),
    ],
)  # fmt: skip
def test_invalid_arguments_are_refused(db, numbered, arguments, message):
    with pytest.raises(psycopg.Error, match=message):
        db.execute(f"SELECT * FROM hamming_nearest({arguments.format(q=literal(numbered[0]))})")


def test_hamming_nearest_requires_select(db, numbered):
    call = f"SELECT * FROM hamming_nearest('t_code', {literal(numbered[0])}, 1, NULL, 100, {on_day(0, 1)})"
    db.execute("DROP ROLE IF EXISTS stranger")
    db.execute("CREATE ROLE stranger")
    try:
        db.execute("SET ROLE stranger")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(call)
        db.execute("RESET ROLE")
        db.execute("GRANT SELECT ON t TO stranger")
        db.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
        db.execute("SET ROLE stranger")
        with pytest.raises(psycopg.Error, match="row-level security"):
            db.execute(call)
    finally:
        db.execute("RESET ROLE")
        db.execute("DROP OWNED BY stranger; DROP ROLE stranger")

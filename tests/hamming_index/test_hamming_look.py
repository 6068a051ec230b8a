"""What reports about an index: who may ask, hamming_stats, the plan, the catalog."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import psycopg
import pytest
from hamming_cases import check, fill, literal, make_codes


@pytest.fixture
def codes():
    return make_codes("clustered", 3000, 64, np.random.default_rng(31))


def test_only_hamming_indexes_can_be_inspected(db, codes):
    fill(db, codes[:10])
    db.execute("CREATE INDEX other ON t (id)")
    for name in ("other", "t"):
        for call in (f"hamming_check('{name}')", f"hamming_stats('{name}')"):
            with pytest.raises(psycopg.Error, match="is not a hamming index"):
                db.execute(f"SELECT {call}")


@pytest.fixture
def role(db, codes) -> Iterator[str]:
    """A role without rights, beside a table ``t`` with an index."""
    fill(db, codes[:100])
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    name = f"reader_of_{db.info.dbname}"
    db.execute(f"CREATE ROLE {name}")
    yield name
    db.execute("RESET ROLE")
    db.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def looks(codes) -> list[str]:
    return [
        "SELECT hamming_stats('t_code')",
        f"SELECT hamming_skipped('t_code', {literal(codes[0])})",
    ]


CHECKS = ["SELECT hamming_check('t_code')", "SELECT hamming_check_pages('t_code')"]


def test_inspection_requires_select_and_a_check_requires_maintain(db, codes, role):
    db.execute(f"SET ROLE {role}")
    for statement in (*looks(codes), *CHECKS):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement)
    db.execute("RESET ROLE")
    db.execute(f"GRANT SELECT ON t TO {role}")
    db.execute(f"SET ROLE {role}")
    for statement in looks(codes):
        db.execute(statement)
    for statement in CHECKS:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement)
    db.execute("RESET ROLE")
    if db.info.server_version >= 170000:
        db.execute(f"GRANT MAINTAIN ON t TO {role}")
    else:
        db.execute(f"ALTER TABLE t OWNER TO {role}")
    db.execute(f"SET ROLE {role}")
    for statement in CHECKS:
        db.execute(statement)


def test_row_level_security_is_respected(db, codes, role):
    db.execute(f"GRANT SELECT ON t TO {role}")
    db.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    db.execute(f"SET ROLE {role}")
    for statement in looks(codes):
        with pytest.raises(psycopg.Error, match="row-level security"):
            db.execute(statement)


def test_the_check_runs_an_index_expression_as_the_owner_of_the_table(db, codes):
    owner = f"owner_of_{db.info.dbname}"
    db.execute(f"CREATE ROLE {owner}")
    try:
        db.execute(f"GRANT CREATE ON SCHEMA public TO {owner}")
        db.execute(f"SET ROLE {owner}")
        fill(db, codes[:10])
        db.execute(
            "CREATE FUNCTION own(code bit) RETURNS bit LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN "
            f"IF current_user <> '{owner}' THEN RAISE 'run by %', current_user; END IF; "
            "RETURN code; END $$"
        )
        db.execute("CREATE INDEX t_code ON t USING hamming ((own(code)::bit(64)))")
        db.execute("RESET ROLE")
        check(db)
    finally:
        db.execute("RESET ROLE")
        db.execute(f"DROP OWNED BY {owner}")
        db.execute(f"DROP ROLE {owner}")


def test_hamming_stats_describes_the_index(db, codes):
    fill(db, codes)
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    with db.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        stats = cursor.execute("SELECT * FROM hamming_stats('t_code')").fetchone()
    assert stats.pop("kernel") in ("avx512-vpopcntdq", "avx2", "popcnt", "neon", "portable")
    assert stats == {
        "bits": 64,
        "entries": 3000,
        "nulls": 0,
        "data_pages": 6,
        "directory_pages": 1,
        "page_capacity": 576,
        "page_balls": 9,
    }


def plan(db: psycopg.Connection, statement: str) -> str:
    return "\n".join(line for (line,) in db.execute(f"EXPLAIN {statement}"))


def test_the_planner_chooses_by_cost(db):
    rng = np.random.default_rng(32)
    codes = make_codes("random", 30_000, 64, rng)
    fill(db, codes)
    db.execute("CREATE TABLE a AS SELECT id, code, point(id % 200, id / 200) AS place FROM t")
    db.execute("CREATE INDEX a_code ON a USING hamming (code)")
    db.execute("CREATE INDEX a_place ON a USING gist (place)")
    db.execute("VACUUM ANALYZE a")
    order = f"ORDER BY code <~> {literal(codes[0])} LIMIT 10"
    assert "Index Scan using a_code" in plan(db, f"SELECT id FROM a {order}")
    tiny = "place <@ box '((3,3),(4,4))'"
    assert "Index Scan using a_code" not in plan(db, f"SELECT id FROM a WHERE {tiny} {order}")
    assert "a_code" not in plan(db, "SELECT count(*) FROM a")
    db.execute("SET enable_seqscan = off")
    assert "a_code" not in plan(db, "SELECT id FROM a WHERE code IS NOT NULL")


def test_everything_public_has_a_comment(db):
    rows = db.execute(
        "SELECT pg_describe_object(classid, objid, objsubid), obj_description(objid, relname) "
        "FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid "
        "JOIN pg_class c ON c.oid = d.classid "
        "WHERE e.extname = 'dcsh_hamming' AND d.deptype = 'e'"
    ).fetchall()
    assert len(rows) >= 6
    assert [what for what, comment in rows if not comment and "family" not in what] == []


def test_the_operator_class_is_valid_and_only_for_codes(db):
    (valid,) = db.execute(
        "SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'bit_hamming_ops' "
        "AND opcmethod = (SELECT oid FROM pg_am WHERE amname = 'hamming')"
    ).fetchone()
    assert valid


def test_storage_parameters_are_refused(db):
    db.execute("CREATE TABLE t (code bit(64))")
    with pytest.raises(psycopg.Error, match='unrecognized parameter "lists"'):
        db.execute("CREATE INDEX ON t USING hamming (code) WITH (lists = 10)")


def test_dropping_the_extension_drops_the_index(db, codes):
    fill(db, codes[:10])
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        db.execute("DROP EXTENSION dcsh_hamming")
    db.execute("DROP EXTENSION dcsh_hamming CASCADE")
    assert db.execute("SELECT to_regclass('t_code')").fetchone() == (None,)

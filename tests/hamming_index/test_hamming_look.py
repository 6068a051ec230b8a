"""What tells about an index: hamming_check, hamming_stats, the plan, the catalog."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
from hamming_cases import check, fill, literal, make_codes

from dcsh_pg.database.embedded import EmbeddedServer

PAGE = 8192


@pytest.fixture
def codes():
    return make_codes("clustered", 3000, 64, np.random.default_rng(31))


@pytest.fixture(scope="module")
def server(programs, server_folder):
    made = EmbeddedServer(server_folder / f"damaged-{programs.parent.name}", programs)
    with psycopg.connect(made.start(), autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET fsync = off")
        conn.execute("CREATE EXTENSION dcsh_hamming CASCADE")
    yield made
    made.stop()


def lose_an_entry(file: bytearray) -> None:
    """The last entry of the first data page: its TID, its place in the free space, the count."""
    page = memoryview(file)[2 * PAGE : 3 * PAGE]
    count = int.from_bytes(page[-8:-6], "little")
    page[-8:-6] = (count - 1).to_bytes(2, "little")
    upper = int.from_bytes(page[14:16], "little")
    page[14:16] = (upper + 6).to_bytes(2, "little")


def repeat_an_entry(file: bytearray) -> None:
    page = memoryview(file)[2 * PAGE : 3 * PAGE]
    page[-20:-14] = page[-14:-8]


def set_radii(file: bytearray, radius: int) -> None:
    """Of the nine balls of the first data page."""
    first = PAGE + int.from_bytes(file[PAGE + 12 : PAGE + 14], "little")
    file[first : first + 18] = radius.to_bytes(2, "little") * 9


def narrow_the_balls(file: bytearray) -> None:
    set_radii(file, 0)


def flip_a_bit(file: bytearray) -> None:
    """Of a code that its page's balls, made as wide as can be, still cover."""
    set_radii(file, 64)
    file[2 * PAGE + 64] ^= 1


def overwrite(file: bytearray) -> None:
    file[3 * PAGE - 16 : 3 * PAGE] = bytes(16)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lose_an_entry, "has no entry"),
        (repeat_an_entry, "has more than one entry"),
        (narrow_the_balls, "lies in none of the balls"),
        (flip_a_bit, "has another code"),
        (overwrite, "corrupted at block 2"),
    ],
)
def test_hamming_check_finds_damage(server, codes, damage, told):
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS t")
        fill(conn, codes[:1000])
        conn.execute("CREATE INDEX t_code ON t USING hamming (code)")
        check(conn)
        path = server.cluster / conn.execute("SELECT pg_relation_filepath('t_code')").fetchone()[0]
    server.stop()
    file = bytearray(path.read_bytes())
    damage(file)
    path.write_bytes(file)
    server.start()
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        conn.execute("SET ignore_checksum_failure = on")
        with pytest.raises(psycopg.errors.IndexCorrupted) as raised:
            check(conn)
        diag = raised.value.diag
        assert told in f"{diag.message_primary} {diag.message_detail}"
        assert diag.message_hint == "Please REINDEX it."
        conn.execute("REINDEX INDEX t_code")
        check(conn)


def test_only_hamming_indexes_can_be_looked_into(db, codes):
    fill(db, codes[:10])
    db.execute("CREATE INDEX other ON t (id)")
    for name in ("other", "t"):
        for call in (f"hamming_check('{name}')", f"hamming_stats('{name}')"):
            with pytest.raises(psycopg.Error, match="is not a hamming index"):
                db.execute(f"SELECT {call}")


def test_who_may_not_read_the_table_may_not_look_into_its_index(db, codes):
    fill(db, codes[:10])
    db.execute("CREATE INDEX t_code ON t USING hamming (code)")
    role = f"reader_of_{db.info.dbname}"
    db.execute(f"CREATE ROLE {role}")
    try:
        db.execute(f"SET ROLE {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            check(db)
    finally:
        db.execute("RESET ROLE")
        db.execute(f"DROP ROLE {role}")


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


def test_stats(db, codes):
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

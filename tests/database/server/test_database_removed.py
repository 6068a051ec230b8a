"""Upgrades of databases with objects that this version does not have."""

from pathlib import Path

import psycopg
import pytest

from dcsh_pg.database.server import migrate
from dcsh_pg.errors import DcshError, ServerError

HERE = Path(__file__).parent

LEFT_BY_0_1 = """
CREATE VIEW dcsh._shard_task AS SELECT 1 AS task;
CREATE FUNCTION dcsh._is_sharded(archive text) RETURNS boolean LANGUAGE sql RETURN false;
CREATE FUNCTION dcsh._do_shard_task() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER do_shard_task INSTEAD OF INSERT ON dcsh._shard_task
    FOR EACH ROW EXECUTE FUNCTION dcsh._do_shard_task();
"""
SHARDED_BY_0_1 = """
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER dcsh_1 FOREIGN DATA WRAPPER nowhere;
CREATE TABLE dcsh.naip (id bigint, scene_id bigint) PARTITION BY HASH (scene_id);
CREATE FOREIGN TABLE dcsh."naip$1" PARTITION OF dcsh.naip
    FOR VALUES WITH (MODULUS 1, REMAINDER 0) SERVER dcsh_1;
"""


def test_upgrade_removes_the_functions_of_shards(dsn):
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute((HERE / "first_schema_core.sql").read_text())
        conn.execute(LEFT_BY_0_1)
    migrate.upgrade(dsn)
    with psycopg.connect(dsn) as conn:
        left = conn.execute(
            "SELECT proname FROM pg_proc WHERE proname ~ 'is_sharded|do_shard_task'"
        ).fetchall()
        assert left == []
        assert conn.execute("SELECT to_regclass('dcsh._shard_task')").fetchone() == (None,)


def test_upgrade_refuses_a_sharded_archive(database):
    with psycopg.connect(database) as conn:
        conn.execute(SHARDED_BY_0_1)
    with pytest.raises(DcshError, match="naip") as refused:
        migrate.upgrade(database)
    assert "archive unshard" in refused.value.hint
    with psycopg.connect(database) as conn:
        assert conn.execute("""SELECT to_regclass('dcsh."naip$1"')""").fetchone() != (None,)


VIEW = "CREATE VIEW public.nearest AS SELECT id FROM dcsh.similar('first', NULL::bit)"
FUNCTION = """
CREATE FUNCTION public.nearest() RETURNS bigint LANGUAGE sql
    RETURN (SELECT count(*) FROM dcsh.similar('first', NULL::bit))
"""


@pytest.mark.parametrize(
    ("statement", "named"),
    [(VIEW, "view public.nearest"), (FUNCTION, r"function public.nearest\(\)")],
)
def test_upgrade_names_what_depends_on_a_replaced_function(dsn, statement, named):
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute((HERE / "first_schema_core.sql").read_text())
        conn.execute(statement)
        before = functions(conn)
    with pytest.raises(ServerError, match=f"{named} depends on function dcsh.similar") as refused:
        migrate.upgrade(dsn)
    assert "drop it" in refused.value.hint and "create it again" in refused.value.hint
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert functions(conn) == before
        conn.execute(f"DROP {statement.split()[1]} public.nearest")
    migrate.upgrade(dsn)
    with psycopg.connect(dsn) as conn:
        after = functions(conn)
        assert len({name for name, _ in after}) == len(after)
        assert not any(name.startswith("_former_") for name, _ in after)
        conn.execute(statement)
    migrate.upgrade(dsn)  # An unchanged signature keeps what depends on it.


def test_upgrade_keeps_functions_of_other_names(database):
    with psycopg.connect(database) as conn:
        conn.execute("CREATE FUNCTION dcsh.my_search() RETURNS integer RETURN 1")
    migrate.upgrade(database)
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT dcsh.my_search()").fetchone() == (1,)


def functions(conn):
    rows = conn.execute(
        """
        SELECT p.proname, pg_get_function_arguments(p.oid) FROM pg_proc p
        WHERE p.pronamespace::regnamespace::text IN ('dcsh', 'dcsh_private')
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                            AND d.objid = p.oid AND d.deptype = 'e')
        ORDER BY 1, 2
        """
    )
    return rows.fetchall()

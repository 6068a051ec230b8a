"""Upgrades of databases that version 0.1 has sharded over postgres_fdw, or could have."""

import psycopg
import pytest

from dcsh_pg.database.server import migrate
from dcsh_pg.errors import DcshError

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


def test_upgrade_removes_the_functions_of_shards(database):
    with psycopg.connect(database) as conn:
        conn.execute(LEFT_BY_0_1)
    migrate.upgrade(database)
    with psycopg.connect(database) as conn:
        left = conn.execute(
            "SELECT proname FROM pg_proc WHERE proname IN ('_is_sharded', '_do_shard_task')"
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

"""Approximate indexes: how they are built, replaced and dropped, and what the server is advised."""

import json

import numpy as np
import pytest
from psycopg.conninfo import make_conninfo
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.database.archives import plan, registry
from dcsh_pg.database.archives.approximate_index import (
    BuildOptions,
    build_plan,
    create_approximate_index,
    drop_approximate_index,
)
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server import rights
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import InputError, NotFound, ServerError, UsageError

CODES = np.random.default_rng(0).integers(0, 256, (3000, 8), dtype=np.uint8)


@pytest.fixture
def conn(core):
    core.execute("DROP EXTENSION IF EXISTS dcsh_hamming CASCADE")
    loader = Loader(core, new_archive(core, "places"))
    add(loader, Scene("a"), CODES)
    loader.flush()
    core.execute("ANALYZE dcsh.places")
    return core


def indexes(conn):
    return conn.execute(
        "SELECT format('dcsh.%I', x.relname), x.reloptions FROM dcsh.recall('places') r"
        " JOIN pg_class x ON x.oid = r.index"
    ).fetchall()


def test_the_rule_for_lists_and_memory():
    assert build_plan("ivfflat", 50_000, 64).parameters == {"lists": 50}
    assert build_plan("ivfflat", 4_000_000, 64).parameters == {"lists": 2000}
    small = BuildOptions(memory_bytes=2**28)
    fitted = build_plan("ivfflat", 4_000_000, 64, small)
    assert 1000 < fitted.parameters["lists"] < 2000 and fitted.memory_bytes <= 2**28
    assert build_plan("hnsw", 10**8, 64, small).memory_bytes == 2**28
    with pytest.raises(UsageError, match="--lists 2000 needs") as refused:
        build_plan("ivfflat", 4_000_000, 64, BuildOptions(lists=2000, memory_bytes=2**28))
    assert "--memory" in refused.value.hint
    for method, options in [
        ("hnsw", lambda: BuildOptions(lists=3)),
        ("ivfflat", lambda: BuildOptions(m=3)),
        ("hnsw", lambda: BuildOptions(m=101)),
        ("hnsw", lambda: BuildOptions(m=40, ef_construction=79)),
    ]:
        with pytest.raises(UsageError):
            build_plan(method, 1000, 64, options())


@pytest.mark.parametrize(
    ("method", "options"), [("ivfflat", BuildOptions(lists=250)), ("hnsw", BuildOptions())]
)
def test_a_build_gets_the_memory_it_needs_and_no_more_stays_set(conn, method, options):
    notices = []
    conn.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    conn.execute("SET maintenance_work_mem = '1MB'")
    create_approximate_index(conn, "places", method, options)
    assert not [text for text in notices if "memory" in text]
    assert conn.execute("SHOW maintenance_work_mem").fetchone() == ("1MB",)


def test_it_is_kept_replaced_mended_and_dropped(conn):
    first = create_approximate_index(conn, "places", "ivfflat")
    assert create_approximate_index(conn, "places", "ivfflat") == first
    assert indexes(conn) == [(first, ["lists=3"])]
    second = create_approximate_index(conn, "places", "ivfflat", BuildOptions(lists=7))
    assert indexes(conn) == [(second, ["lists=7"])]
    third = create_approximate_index(conn, "places", "hnsw", BuildOptions(m=4))
    assert indexes(conn) == [(third, ["m=4", "ef_construction=64"])]
    conn.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [third])
    assert indexes(conn) == []
    create_approximate_index(conn, "places", "ivfflat")
    assert [options for _, options in indexes(conn)] == [["lists=3"]]
    assert drop_approximate_index(conn, "places", "hnsw") == []
    assert len(drop_approximate_index(conn, "places")) == 1
    left = "SELECT count(*) FROM dcsh_private.ordering_indexes('places')"
    assert conn.execute(left).fetchone() == (0,)


def test_a_build_that_fails_leaves_nothing(conn):
    conn.execute("SET maintenance_work_mem = '1MB'")
    conn.execute("SET statement_timeout = 1")
    with pytest.raises(ServerError):
        create_approximate_index(conn, "places", "hnsw", BuildOptions(ef_construction=900))
    conn.execute("SET statement_timeout = 0")
    create_approximate_index(conn, "places", "ivfflat")
    assert [options for _, options in indexes(conn)] == [["lists=3"]]


def test_what_cannot_be_indexed(conn):
    new_archive(conn, "empty")
    with pytest.raises(InputError, match="is empty"):
        create_approximate_index(conn, "empty", "ivfflat")
    with pytest.raises(NotFound):
        create_approximate_index(conn, "palaces", "ivfflat")
    conn.execute("CREATE ROLE approximate_reader LOGIN PASSWORD 'x'")
    try:
        rights.grant(conn, "approximate_reader")
        conn.execute("SET ROLE approximate_reader")
        with pytest.raises(ServerError, match="only the owner"):
            create_approximate_index(conn, "places", "ivfflat")
        conn.execute("RESET ROLE")
        create_approximate_index(conn, "places", "ivfflat")
        conn.execute("SET ROLE approximate_reader")
        found = (
            "SELECT count(*) FROM dcsh.similar('places', dcsh.code_of('places', 1), exact => false)"
        )
        assert conn.execute(found).fetchone() == (10,)
        with pytest.raises(ServerError, match="only the owner"):
            drop_approximate_index(conn, "places")
    finally:
        conn.execute("RESET ROLE")
        conn.execute("DROP OWNED BY approximate_reader")
        conn.execute("DROP ROLE approximate_reader")


def test_beside_the_exact_index_none_is_made(hamming):
    with connect(hamming) as conn:
        new_archive(conn, "places")
        with pytest.raises(UsageError, match="has the exact index") as refused:
            create_approximate_index(conn, "places", "ivfflat")
        assert "archive index places" in refused.value.hint


def test_the_advice_follows_rows_service_and_measurement(conn, monkeypatch):
    def advised():
        return plan.search_plan(conn, registry.get_archive(conn, "places"))

    monkeypatch.setattr(plan, "SMALL", 1000)
    assert "native install" in advised().fix and advised().advice is None
    monkeypatch.setattr(plan, "LARGE", 1000)
    assert advised().advice.endswith("dcsh-pg archive index places --approximate ivfflat")
    conn.execute("CREATE ROLE rds_superuser")
    try:
        assert plan.managed_by(conn) == "Amazon RDS"
        assert advised().fix is None
    finally:
        conn.execute("DROP ROLE rds_superuser")
    name = create_approximate_index(conn, "places", "ivfflat")
    assert advised().advice == "its recall is unknown: dcsh-pg recall places"
    store = "SELECT dcsh_private.store_recall(%s::regclass, 2, 0.99, 10, 100, %s)"
    conn.execute(store, [name, 1000])
    assert "measured on 1,000" in advised().advice
    conn.execute(store, [name, 3000])
    assert advised().advice is None and "recall@10 0.9900" in advised().approximate


def test_the_commands(conn):
    dsn = make_conninfo(conn.info.dsn, password=conn.info.password)

    def run(*arguments):
        done = CliRunner().invoke(app, [*arguments, "--dsn", dsn])
        assert done.exit_code == 0, done.stderr
        return done

    made = run("archive", "index", "places", "--approximate", "ivfflat")
    assert "has the index dcsh.places_code_idx" in made.stderr and "recall@10" in made.stdout
    hits = run("search", "places", "--chip", "5", "--approximate", "--format", "json")
    assert "approximate: ivfflat, ivfflat.probes" in hits.stderr and "recall@10" in hits.stderr
    rows = json.loads(hits.stdout)
    assert len(rows) == 10 and all(row["approximate"] is True for row in rows)
    means = run("search", "places", "--like", "5", "--rule", "mean", "--approximate", "--json")
    assert "approximate" not in json.loads(means.stdout)[0]
    shown = json.loads(run("archive", "show", "places", "--json").stdout)["approximate"]
    assert shown["rows"] == 3000 and shown["recall"] >= 0.99
    status = run("db", "status")
    assert "places --approximate: ivfflat" in status.stdout
    again = json.loads(run("recall", "places", "--target", "0.5", "--json", "-q").stdout)
    assert again["stored"] and again["chosen"]["setting"] == 1
    run("archive", "index", "places", "--approximate", "ivfflat", "--drop")
    exact = run("search", "places", "--chip", "5", "--approximate", "--format", "json")
    assert exact.stderr.startswith("exact: ") and '"approximate"' not in exact.stdout
    refused = CliRunner().invoke(app, ["recall", "places", "--dsn", dsn])
    assert refused.exit_code == UsageError.exit_code and "no approximate index" in refused.stderr

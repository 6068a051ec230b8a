"""An archive that gets a new model while it is searched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from dcsh_pg import Archive
from dcsh_pg.archive.rehashing import rehash_archive
from dcsh_pg.cli.main import app
from dcsh_pg.database.archives import rehash
from dcsh_pg.database.server import rights
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound, PartialSuccess, ServerError, UsageError
from dcsh_pg.hasher import Hasher


def new_model(folder, seed, bits):
    import torch

    from dcsh_pg.export import export
    from dcsh_pg.learning.encoders import Encoder
    from dcsh_pg.learning.heads import MLPHead
    from dcsh_pg.learning.model.hash_function import HashFunction

    torch.manual_seed(seed)
    encoder = Encoder("small")
    made = HashFunction(encoder, MLPHead(encoder.dim, bits), method="random").eval()
    export(made, folder / "model.onnx", name=f"random {bits}", chip_size=64)
    return folder / "model.onnx"


@pytest.fixture(scope="session")
def other_model(tmp_path_factory):
    pytest.importorskip("torch", reason="making a model needs the extra 'train'")
    return new_model(tmp_path_factory.mktemp("other"), seed=1, bits=64)


@pytest.fixture(scope="session")
def longer_model(tmp_path_factory):
    pytest.importorskip("torch", reason="making a model needs the extra 'train'")
    return new_model(tmp_path_factory.mktemp("longer"), seed=2, bits=128)


@pytest.fixture
def files(scenes, tmp_path):
    shutil.copytree(scenes, tmp_path / "scenes")
    return tmp_path / "scenes"


def made(dsn, model, files, name="a"):
    archive = Archive.create(name, model, chip_size=128, dsn=dsn)
    archive.ingest([str(files)])
    return archive


def codes(conn, name):
    return conn.execute(
        f"""
        SELECT s.uri, c.col_off, c.row_off, c.code::text
        FROM dcsh.{name} c JOIN dcsh.scene s ON s.id = c.scene_id ORDER BY 1, 2, 3
        """
    ).fetchall()


def others(conn, name):
    """All that a new model leaves as it is."""
    return conn.execute(
        f"SELECT id, scene_id, col_off, row_off, geom::text, acquired, valid_fraction "
        f"FROM dcsh.{name} ORDER BY id"
    ).fetchall()


@pytest.mark.parametrize("bits", [64, 128])
def test_the_new_codes_are_those_of_a_new_archive(
    any_deployment, model_file, other_model, longer_model, files, bits
):
    model = {64: other_model, 128: longer_model}[bits]
    archive = made(any_deployment, model_file, files)
    conn = archive.connection
    expected = codes(made(any_deployment, model, files, "b").connection, "b")
    kept, former = others(conn, "a"), codes(conn, "a")
    conn.execute("CREATE VIEW public.mine AS SELECT id, code FROM dcsh.a_layer")
    conn.execute("GRANT SELECT ON dcsh.a, dcsh.a_layer TO pg_monitor")
    stale = Archive.open("a", dsn=any_deployment)
    try:
        report = archive.rehash(model)
        assert (report.chips, report.is_swapped) == (len(kept), False)
        assert codes(conn, "a") == former and archive.similar_to(1, k=3)
        report = archive.rehash(model, swap=True)
        assert (report.chips, report.is_swapped) == (0, True)
        assert (codes(conn, "a"), others(conn, "a")) == (expected, kept)
        assert archive.record.bits == bits and archive.record.model_sha256 == Hasher(model).sha256
        assert conn.execute("SELECT length(code) FROM public.mine LIMIT 1").fetchone() == (
            bits // 4,
        )
        for relation in ("dcsh.a", "dcsh.a_layer"):
            assert conn.execute(
                "SELECT has_table_privilege('pg_monitor', %s, 'SELECT')", [relation]
            ).fetchone() == (True,)
        indexes = conn.execute(
            "SELECT relname FROM pg_index JOIN pg_class x ON x.oid = indexrelid "
            "WHERE indrelid = 'dcsh.a'::regclass ORDER BY 1"
        ).fetchall()
        if conn.execute("SELECT dcsh_private.has_hamming()").fetchone() == (True,):
            assert ("a_code_idx",) in indexes
        first = archive.similar_to(1, k=1)[0]
        assert archive.query_image(first.uri, window=first.window).code == registry_code(
            conn, first
        )
        with pytest.raises(NotFound, match="hashed again"):
            stale.query_image(first.uri, window=first.window)
        assert archive.ingest([str(files)]).known == len({row[0] for row in expected})
        with pytest.raises(UsageError, match="already has the codes of this model"):
            archive.rehash(model, swap=True)
    finally:
        conn.execute("DROP VIEW public.mine")
        stale.connection.close()
        conn.close()


def registry_code(conn, hit):
    from dcsh_pg.database.search.chips import code_of

    return code_of(conn, "a", hit.id)


def test_views_of_the_code_stay_or_are_named(
    database, model_file, other_model, longer_model, files
):
    archive = made(database, model_file, files)
    conn = archive.connection
    expected = codes(made(database, other_model, files, "b").connection, "b")
    conn.execute("CREATE VIEW public.mine AS SELECT id, code FROM dcsh.a")
    before = codes(conn, "a")
    with pytest.raises(ServerError, match=r"view public\.mine uses the codes"):
        archive.rehash(longer_model, swap=True)
    assert codes(conn, "a") == before
    with pytest.raises(UsageError, match="with another model"):
        archive.rehash(other_model)
    assert rehash.cancel(conn, "a") and not rehash.cancel(conn, "a")
    archive.rehash(other_model, swap=True)
    assert codes(conn, "a") == expected
    assert conn.execute(
        "SELECT count(*) FROM public.mine m JOIN dcsh.a c USING (id, code)"
    ).fetchone() == (len(expected),)


KILLED = """
import os, signal, sys
from dcsh_pg import Archive
from dcsh_pg.archive import rehashing
from dcsh_pg.database.archives import rehash

rehashing.STORED_CHIPS = 1
store, calls = rehash.store, []

def deadly(*arguments):
    if len(calls) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    calls.append(store(*arguments))

rehash.store = deadly
Archive.open("a", dsn={dsn!r}).rehash({model!r}, swap=True, new_name={new_name!r})
"""


@pytest.mark.parametrize("new_name", [None, "c"])
def test_a_run_that_is_killed_resumes(database, model_file, other_model, files, new_name):
    archive = made(database, model_file, files)
    conn, name = archive.connection, new_name or "a"
    expected = codes(made(database, other_model, files, "b").connection, "b")
    former = codes(conn, "a")
    text = KILLED.format(after=3, dsn=database, model=str(other_model), new_name=new_name)
    done = subprocess.run([sys.executable, "-c", text], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert codes(conn, name) == former
    report = archive.rehash(other_model, swap=True, new_name=new_name)
    assert report.is_swapped and report.chips == len(expected) - 3
    assert codes(conn, name) == expected
    if new_name:
        assert codes(conn, "a") == former and [row[0] for row in others(conn, "c")] == [
            row[0] for row in others(conn, "a")
        ]
        with pytest.raises(UsageError, match="'c' already exists"):
            archive.rehash(other_model, new_name="c")


def test_scenes_of_before_and_after_and_those_that_are_gone(
    database, model_file, other_model, files, tmp_path
):
    paths = sorted(files.rglob("*.tif"))
    last = paths[-1].rename(tmp_path / "last.tif")
    archive = made(database, model_file, files)
    archive.rehash(other_model)
    last = last.rename(paths[-1])
    added = archive.ingest([str(files)]).chips
    moved = files.rename(tmp_path / "moved")
    report = archive.rehash(other_model, swap=True)
    assert (report.chips, report.is_swapped, len(report.failures)) == (0, False, 1)
    with pytest.raises(PartialSuccess, match="no such file"):
        report.raise_for_failures()
    archive.relocate(str(files), str(moved))
    report = archive.rehash(other_model, swap=True)
    assert (report.chips, report.is_swapped) == (added, True)


def test_the_command_and_its_rights(database, model_file, other_model, files):
    def run(*arguments):
        return CliRunner().invoke(
            app, ["archive", "rehash", *map(str, arguments), "--dsn", database]
        )

    made(database, model_file, files).connection.close()
    assert run("a").exit_code == 2
    assert run("a", "--model", other_model, "--swap", "--as", "b").exit_code == 2
    done = run("a", "--model", other_model)
    assert done.exit_code == 0 and "--swap" in done.stderr, done.output
    assert "discarded" in run("a", "--cancel").stderr
    done = run("a", "--model", other_model, "--swap")
    assert done.exit_code == 0 and "hashed with random 64" in done.stderr, done.output
    role = f"writer_{os.getpid()}"
    with connect(database) as conn:
        conn.execute(f"CREATE ROLE {role}")
        try:
            rights.grant(conn, role, write=True)
            conn.execute(f"SET ROLE {role}")
            with pytest.raises(
                ServerError, match='only the owner of archive "a" can hash it again'
            ):
                rehash_archive(conn, "a", Hasher(model_file), model_file, swap=True)
            conn.execute("RESET ROLE")
        finally:
            conn.execute(f"DROP OWNED BY {role}")
            conn.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("has_view", [False, True])
def test_an_approximate_index_of_the_former_codes_is_dropped(
    database, model_file, other_model, files, has_view
):
    archive = made(database, model_file, files)
    conn = archive.connection
    conn.execute("CREATE INDEX ON dcsh.a USING ivfflat (code bit_hamming_ops) WITH (lists = 2)")
    conn.execute("CREATE INDEX narrow ON dcsh.a (id) INCLUDE (code)")
    if has_view:
        conn.execute("CREATE VIEW public.mine AS SELECT id, code FROM dcsh.a")
    archive.rehash(other_model, swap=True)
    indexes = conn.execute(
        "SELECT m.amname, x.relname FROM pg_index JOIN pg_class x ON x.oid = indexrelid"
        " JOIN pg_am m ON m.oid = x.relam WHERE indrelid = 'dcsh.a'::regclass"
    ).fetchall()
    assert ("btree", "narrow") in indexes
    assert "ivfflat" not in [method for method, _ in indexes]

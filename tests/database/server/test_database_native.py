"""Building and installing the native index: small sources for failures, and the real ones at the
end."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from dcsh_pg.database.server import native, native_build
from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.database.server.programs import bundled
from dcsh_pg.errors import OutputError, ServerError

MAKEFILE = """
MODULES = dcsh_hamming
EXTENSION = dcsh_hamming
DATA = dcsh_hamming--1.0.sql
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
"""
MODULE = """
#include "postgres.h"
#include "fmgr.h"
PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(answer);
Datum answer(PG_FUNCTION_ARGS) { PG_RETURN_INT32(42); }
"""
CONTROL = "default_version = '1.0'\nmodule_pathname = '$libdir/dcsh_hamming'\nrelocatable = true\n"
SCRIPT = "CREATE FUNCTION answer() RETURNS integer LANGUAGE c AS 'MODULE_PATHNAME';\n"

BUILD = """
import sys
from pathlib import Path
from dcsh_pg.database.server import native_build
native_build.SOURCES = Path(sys.argv[1])
print(native_build.build(native_build.PgConfig.read(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def config():
    found = native_build.PgConfig.read(bundled()[max(bundled())] / "pg_config")
    try:
        native_build.check_tools(found)
    except ServerError as error:
        pytest.skip(error.message)
    return found


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A small extension of the same name; what is built of it is kept below ``tmp_path``."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "dcsh_hamming.c").write_text(MODULE)
    (folder / "dcsh_hamming.control").write_text(CONTROL)
    (folder / "dcsh_hamming--1.0.sql").write_text(SCRIPT)
    monkeypatch.setattr(native_build, "SOURCES", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def elsewhere(config, folder):
    """The same server with directories of its own to install into."""
    return dataclasses.replace(config, libraries=folder / "lib", share=folder / "share")


def test_a_build_is_made_once_per_state_of_sources_and_server(config, sources):
    built = native_build.build(config)
    assert (built / "dcsh_hamming.so").exists()
    made = (built / "dcsh_hamming.so").stat().st_mtime_ns
    assert native_build.build(config) == built
    assert (built / "dcsh_hamming.so").stat().st_mtime_ns == made
    (sources / "dcsh_hamming.o").write_bytes(b"left by make")
    assert native_build.build(config) == built
    (sources / "dcsh_hamming.c").write_text(MODULE + "/* newer */\n")
    newer = native_build.build(config)
    assert newer != built
    other = dataclasses.replace(config, version="PostgreSQL 18.99")
    assert native_build.build(other) not in (built, newer)


def test_concurrent_processes_share_one_build_and_a_killed_one_leaves_none(config, sources):
    (sources / "Makefile").write_text("$(shell sleep 1)\n" + MAKEFILE)
    command = [sys.executable, "-c", BUILD, str(sources), str(config.path)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    cache = native_build.build_folder(config).parent
    while not list(cache.glob("*.building-*/build.log")):
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not native_build.build_folder(config).exists()
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    folders = {process.communicate()[0].strip() for process in started}
    assert folders == {str(native_build.build_folder(config))}
    assert not list(cache.glob("*.building-*"))


def test_a_failed_build_is_reported_and_not_repeated_without_retry(config, sources):
    (sources / "dcsh_hamming.c").write_text("this is no C")
    with pytest.raises(ServerError, match="cannot be built for PostgreSQL") as error:
        native_build.build(config)
    log = native_build.build_folder(config).with_suffix(".failed")
    assert str(log) in error.value.hint and "this is no C" in log.read_text()
    written = log.stat().st_mtime_ns
    with pytest.raises(ServerError, match="the C compiler failed"):
        native_build.build(config, retry=False)
    assert log.stat().st_mtime_ns == written
    folders = native.InstallFolders.of_server(elsewhere(config, sources))
    assert "the C compiler failed" in native.status(config, folders).obstacle
    (sources / "dcsh_hamming.c").write_text(MODULE)
    native_build.build(config, retry=False)


def test_without_a_compiler_there_is_an_obstacle_and_no_failure(config, sources, monkeypatch):
    monkeypatch.setenv("PATH", str(sources))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ServerError, match="no C compiler") as error:
        native_build.build(config)
    assert "gcc" in error.value.hint
    headless = dataclasses.replace(config, headers=sources, compiler=sys.executable)
    monkeypatch.setenv("PATH", os.defpath)
    with pytest.raises(ServerError, match="no headers of PostgreSQL") as error:
        native_build.build(headless)
    assert f"postgresql-server-dev-{config.major}" in error.value.hint
    assert not native.try_embedded(Path("/nowhere"), sources, "host=nowhere")


def test_installing_writes_only_the_files_of_the_extension(config, sources, tmp_path):
    server = elsewhere(config, tmp_path / "server")
    folders = native.install(server)
    files = sorted(
        str(f.relative_to(tmp_path / "server")) for f in folders.libraries.parent.rglob("*.*")
    )
    assert files == [
        "lib/dcsh_hamming.so",
        "share/extension/dcsh_hamming--1.0.sql",
        "share/extension/dcsh_hamming.control",
    ]
    assert native.status(server, folders).installed
    (sources / "dcsh_hamming.c").write_text(MODULE.replace("42", "43"))
    assert not native.status(server, folders).installed
    native.install(server)
    assert native.status(server, folders).installed


def test_read_only_directories_give_the_commands_for_a_dba(config, sources, tmp_path):
    (tmp_path / "server").touch()
    with pytest.raises(OutputError, match="cannot be written") as error:
        native.install(elsewhere(config, tmp_path / "server"))
    for words in ("sudo", "--pg-config", "dcsh_hamming.so", "dcsh_hamming.control"):
        assert words in error.value.hint


def test_an_invalid_pg_config_is_an_error(tmp_path):
    (tmp_path / "pg_config").write_text("#!/bin/sh\necho no\n")
    (tmp_path / "pg_config").chmod(0o755)
    for path in (tmp_path / "pg_config", tmp_path / "nothing", "no-such-program"):
        with pytest.raises(ServerError, match="no pg_config at"):
            native_build.PgConfig.read(path)


def test_the_embedded_server_finds_it_at_once_and_after_a_restart(
    config, sources, server_folder, tmp_path
):
    server = EmbeddedServer.of(folder=server_folder / tmp_path.name)
    conninfo = server.start()
    try:
        with psycopg.connect(conninfo, autocommit=True) as conn:
            conn.execute("CREATE EXTENSION dcsh_hamming")
            assert conn.execute("SELECT answer()").fetchone() == (42,)
            paths = conn.execute("SHOW extension_control_path").fetchone()[0]
        assert paths.split(":") == ["$system", str(server.cluster.parent / "native/pg18/share")]
        (sources / "dcsh_hamming.c").write_text(MODULE.replace("42", "43"))
        server.stop()
        server.start()
        with psycopg.connect(conninfo) as conn:
            assert conn.execute("SELECT answer()").fetchone() == (43,)
            assert conn.execute("SHOW extension_control_path").fetchone()[0] == paths
        shutil.rmtree(server.cluster.parent / "native")
        server.install_native()
        with psycopg.connect(conninfo) as conn:
            assert conn.execute("SELECT answer()").fetchone() == (43,)
    finally:
        server.stop()


def test_read_only_folders_are_reported(config, sources, tmp_path, monkeypatch):
    (tmp_path / "data").touch()
    with pytest.raises(OutputError, match="native/pg18 cannot be written") as error:
        native.install_embedded(config, tmp_path / "data" / "pg18", "")
    assert "DCSH_PG_DATA" in error.value.hint
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "data"))
    with pytest.raises(OutputError, match="cannot be written") as error:
        native_build.build(config)
    assert "XDG_CACHE_HOME" in error.value.hint


def test_an_embedded_server_before_postgresql_18_is_unsupported(config, sources, server_folder):
    if 16 not in bundled():
        pytest.skip("the bundle has no PostgreSQL 16")
    old = native_build.PgConfig.read(bundled()[16] / "pg_config")
    with pytest.raises(ServerError, match="in its own directories only") as error:
        native.install_embedded(old, server_folder / "pg16", "")
    assert "--pg-config" in error.value.hint
    assert native.status(old, native.InstallFolders.embedded(server_folder / "pg16", old)).obstacle


def test_the_sources_that_are_shipped_build_and_make_the_access_method(hamming):
    with psycopg.connect(hamming) as conn:
        version = conn.execute("SELECT extversion FROM pg_extension WHERE extname = 'dcsh_hamming'")
        assert version.fetchone() == (native_build.version(),)
        conn.execute("CREATE TEMP TABLE t AS SELECT 1::bit(16) AS code")
        conn.execute("CREATE INDEX ON t USING hamming (code)")

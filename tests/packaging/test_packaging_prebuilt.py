"""Wheels that carry the index: a build made ahead is used where no compiler is."""

import importlib.util
import shutil
from pathlib import Path

import psycopg
import pytest

from dcsh_pg.database.server import native_build
from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.database.server.programs import bundled
from dcsh_pg.errors import ServerError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config():
    found = native_build.PgConfig.read(bundled()[max(bundled())] / "pg_config")
    try:
        native_build.check_tools(found)
    except ServerError as error:
        pytest.skip(error.message)
    return found


@pytest.fixture(scope="module")
def made(config, tmp_path_factory):
    """The builds of a wheel, made by the release's own script."""
    path = ROOT / "packaging" / "prebuild.py"
    spec = importlib.util.spec_from_file_location("prebuild", path)
    prebuild = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prebuild)
    prebuild.PREBUILT = tmp_path_factory.mktemp("wheel") / "prebuilt"
    prebuild.build(config.path, compiler="cc")
    return prebuild.PREBUILT


@pytest.fixture
def carried(made, tmp_path, monkeypatch):
    """Those builds in the package, and no compiler."""
    folder = shutil.copytree(made, tmp_path / "prebuilt")
    monkeypatch.setattr(native_build, "PREBUILT", folder)
    monkeypatch.setattr(native_build, "find_compiler", lambda config: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_the_embedded_server_takes_the_build_of_the_wheel(carried, config, server_folder, tmp_path):
    server = EmbeddedServer.of(folder=server_folder / tmp_path.name)
    with psycopg.connect(server.start(), autocommit=True) as conn:
        conn.execute("CREATE EXTENSION dcsh_hamming CASCADE")
        conn.execute("CREATE TEMP TABLE t AS SELECT 1::bit(16) AS code")
        conn.execute("CREATE INDEX ON t USING hamming (code)")
    server.stop()
    assert not (tmp_path / "cache").exists()


def test_a_build_of_other_sources_or_for_another_server_is_not_taken(carried, config, tmp_path):
    assert native_build.build_folder(config) == carried / f"pg{config.major}"
    program = tmp_path / "pg_config"
    program.write_text(f'#!/bin/sh\nexec "{config.path}" "$@"\n')
    program.chmod(0o755)
    other = native_build.PgConfig.read(program)
    assert not native_build.build_folder(other).is_relative_to(carried)
    (carried / f"pg{config.major}" / "SOURCES").write_text("0\n")
    assert not native_build.build_folder(config).is_relative_to(carried)
    with pytest.raises(ServerError, match="no C compiler"):
        native_build.build(config)

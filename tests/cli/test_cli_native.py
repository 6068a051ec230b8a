"""The command native, and what db and archive tell of the index."""

import json

import numpy as np
import pytest
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.programs import bundled
from dcsh_pg.errors import OutputError, ServerError, UsageError


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def places(hamming):
    with connect(hamming) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        codes = np.random.default_rng(0).integers(0, 256, (20_000, 8), dtype=np.uint8)
        add(loader, Scene("a.tif"), codes)
        loader.flush()
    return hamming


def searched(run, dsn):
    return json.loads(run("db", "status", "--json", "--dsn", dsn).stdout)["plans"]


def test_status_reports_which_plan_a_search_uses_and_what_to_do(run, places):
    (plan,) = searched(run, places)
    assert (plan["uses"], plan["fix"]) == ("sequential scan", "dcsh-pg archive index places")
    reported = run("db", "status", "--dsn", places).stdout
    assert "dcsh_hamming 1." in reported
    assert "places: sequential scan; to use the index: dcsh-pg archive index places" in reported
    made = run("archive", "index", "places", "--dsn", places)
    assert made.exit_code == 0 and "places_code_idx" in made.stderr
    (plan,) = searched(run, places)
    assert (plan["uses"], plan["fix"]) == ("index", None)
    assert "is dropped" in run("archive", "index", "places", "--drop", "--dsn", places).stderr
    assert (
        "had no exact index" in run("archive", "index", "places", "--drop", "--dsn", places).stderr
    )


def test_status_of_a_database_without_it(run, dsn):
    run("db", "upgrade", "--dsn", dsn)
    with connect(dsn) as conn:
        conn.execute("DROP EXTENSION IF EXISTS dcsh_hamming")
        new_archive(conn, "empty")
        offered = conn.execute(
            "SELECT FROM pg_available_extensions WHERE name = 'dcsh_hamming'"
        ).fetchall()
    reported = run("db", "status", "--dsn", dsn).stdout
    hint = "'dcsh-pg db upgrade'" if offered else "dcsh-pg native install"
    assert hint in next(line for line in reported.splitlines() if line.startswith("index"))
    assert "empty: empty" in reported
    refused = run("archive", "index", "empty", "--dsn", dsn)
    assert refused.exit_code == ServerError.exit_code
    assert "dcsh-pg native install" in refused.stderr


def test_an_upgrade_makes_it_known_to_the_database(run, hamming):
    with connect(hamming) as conn:
        conn.execute("DROP EXTENSION dcsh_hamming")
    assert run("db", "upgrade", "--dsn", hamming).exit_code == 0
    assert json.loads(run("db", "status", "--json", "--dsn", hamming).stdout)["hamming"]


def test_install_for_the_embedded_server(run, hamming, monkeypatch, server_folder):
    monkeypatch.setenv("DCSH_PG_DATA", str(server_folder / "cli-native"))
    before = json.loads(run("native", "status", "--json").stdout)
    assert not before["installed"] and before["obstacle"] is None
    try:
        done = run("native", "install")
        assert done.exit_code == 0 and "is installed in" in done.stderr
        assert json.loads(run("native", "status", "--json").stdout)["installed"]
        reported = run("native", "status").stdout
        assert "installed  yes" in reported and str(server_folder / "cli-native") in reported
        assert json.loads(run("db", "status", "--json").stdout)["hamming"]
    finally:
        run("db", "stop")


def test_what_cannot_be_done_is_reported(run, hamming, tmp_path):
    missing = run("native", "install", "--pg-config", tmp_path / "pg_config")
    assert missing.exit_code == ServerError.exit_code and "no pg_config at" in missing.stderr
    both = run("native", "status", "--pg-config", "pg_config", "--pg-bin", tmp_path)
    assert both.exit_code == UsageError.exit_code

    real = bundled()[max(bundled())] / "pg_config"
    (tmp_path / "taken").touch()
    posing = tmp_path / "pg_config"
    posing.write_text(
        f"#!/bin/sh\n[ $# -gt 0 ] && exec '{real}' \"$@\"\n"
        f"'{real}' | sed -E 's#^(PKGLIBDIR|SHAREDIR) = .*#\\1 = {tmp_path}/taken#'\n"
    )
    posing.chmod(0o755)
    refused = run("native", "install", "--pg-config", posing)
    assert refused.exit_code == OutputError.exit_code
    assert "sudo" in refused.stderr and "dcsh_hamming.control" in refused.stderr
    reported = json.loads(run("native", "status", "--json", "--pg-config", posing).stdout)
    assert not reported["installed"]

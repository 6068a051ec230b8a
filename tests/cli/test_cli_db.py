"""The commands db and archive."""

import json
import os
import subprocess

import numpy as np
import psycopg
import pytest
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.programs import bundled
from dcsh_pg.errors import NotFound, SchemaError, ServerError, UsageError


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def places(database):
    with connect(database) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        add(loader, Scene("a.tif", properties={"label": "x"}), np.zeros((3, 8), np.uint8))
        loader.record_error("b.tif", "cannot be read", "copy it again")
        loader.flush()
    return database


def test_upgrade_then_status(run, dsn):
    before = run("db", "status", "--dsn", dsn)
    assert "none; create it with 'dcsh-pg db upgrade'" in before.stdout
    assert "this database does not; run: dcsh-pg db upgrade" in before.stdout  # pgvector
    done = run("db", "upgrade", "--dsn", dsn)
    assert done.exit_code == 0 and "schema dcsh: created at revision" in done.stderr
    assert "up to date at" in run("db", "upgrade", "--dsn", dsn).stderr
    assert json.loads(run("db", "upgrade", "--json", "--dsn", dsn).stdout)["current"]
    reported = json.loads(run("db", "status", "--json", "--dsn", dsn).stdout)
    assert reported["revision"] == reported["wanted"] and reported["layer"] == "core"
    assert reported["archives"] == [] and not reported["embedded"]


def test_upgrade_sql_is_a_script_for_psql(run, dsn):
    script = run("db", "upgrade", "--sql", "--spatial", "core").stdout
    psql = bundled()[max(bundled())] / "psql"
    subprocess.run([psql, "-q", "-v", "ON_ERROR_STOP=1", dsn], input=script, text=True, check=True)
    assert json.loads(run("db", "status", "--json", "--dsn", dsn).stdout)["revision"]


def test_the_embedded_server_starts_prints_its_url_and_stops(run, monkeypatch, server_folder):
    monkeypatch.setenv("DCSH_PG_DATA", str(server_folder / "cli"))
    assert "was not running" in run("db", "stop").stderr
    assert run("db", "start").exit_code == 0
    url = run("db", "url").stdout.strip()
    assert url.startswith("postgresql://dcsh:") and "@127.0.0.1:" in url
    assert url.endswith("?require_auth=scram-sha-256")
    assert run("db", "url", "--no-require-auth").stdout.strip() == url.partition("?")[0]
    with psycopg.connect(url) as conn:
        assert conn.info.dbname == "dcsh"
    assert json.loads(run("db", "status", "--json").stdout)["embedded"]
    assert run("db", "password").exit_code == 0
    assert run("db", "url").stdout.strip() != url
    assert "is stopped" in run("db", "stop").stderr


@pytest.mark.parametrize(("version", "is_old"), [("15.18 (Debian)", True), ("16.0", False)])
def test_db_url_warns_of_an_old_psql(run, monkeypatch, tmp_path, version, is_old):
    psql = tmp_path / "psql"
    psql.write_text(f"#!/bin/sh\necho 'psql (PostgreSQL) {version}'\n")
    psql.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    dsn = "host=db dbname=maps require_auth=scram-sha-256"
    assert ("--no-require-auth" in run("db", "url", "--dsn", dsn).stderr) is is_old
    assert run("db", "url", "--dsn", "host=db").stderr == ""


def test_archives_are_listed_shown_and_dropped(run, places):
    (reported,) = json.loads(run("archive", "list", "--json", "--dsn", places).stdout)
    assert (reported["name"], reported["chips"], reported["errors"]) == ("places", 3, 1)
    assert "places" in run("archive", "list", "--dsn", places).stdout
    shown = json.loads(run("archive", "show", "places", "--json", "--dsn", places).stdout)
    assert shown["properties"] == ["label"] and shown["bounds"] is None
    assert "model sha256" in run("archive", "show", "places", "--dsn", places).stdout
    errors = run("archive", "errors", "places", "--dsn", places).stdout
    assert errors == "b.tif: cannot be read (copy it again)\n"
    refused = run("archive", "drop", "places", "--dsn", places)
    assert refused.exit_code == UsageError.exit_code and "3 chips" in refused.stderr
    assert run("archive", "drop", "places", "--yes", "--dsn", places).exit_code == 0
    gone = run("archive", "show", "places", "--dsn", places)
    assert gone.exit_code == NotFound.exit_code


def test_an_unusable_database_is_refused(run, dsn):
    empty = run("archive", "list", "--dsn", dsn)
    assert empty.exit_code == SchemaError.exit_code and "dcsh-pg db upgrade" in empty.stderr
    nowhere = run("db", "status", "--dsn", "postgresql://127.0.0.1:1/x")
    assert nowhere.exit_code == ServerError.exit_code

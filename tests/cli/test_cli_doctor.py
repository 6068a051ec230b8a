"""The command doctor: what it finds, what it advises, and what it leaves alone."""

import json
import os
import subprocess
import sys

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from dcsh_pg import doctor
from dcsh_pg.cli.main import app
from dcsh_pg.database.server import rights

PROGRAM = "from dcsh_pg.cli.main import run; run()"


def examined(dsn):
    return {finding.name: finding for finding in doctor.examine(dsn)}


def run(*arguments, before="", **environment):
    return subprocess.run(
        [sys.executable, "-c", before + PROGRAM, "doctor", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


@pytest.fixture
def role(database):
    name = f"doctor_{os.getpid()}"
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'hunter2'")
        yield name
        conn.execute(f"DROP OWNED BY {name}")
        conn.execute(f"DROP ROLE {name}")


def test_a_database_with_the_schema_has_no_problem(database):
    found = examined(database)
    assert [one for one in found.values() if one.status == doctor.PROBLEM] == []
    assert found["schema"].found.endswith("0 archives")
    assert "owns schema dcsh" in found["role"].found


def test_a_database_without_schema(dsn):
    done = run("--json", "--dsn", dsn)
    assert done.returncode == 1
    (schema,) = (one for one in json.loads(done.stdout) if one["name"] == "schema")
    assert (schema["status"], schema["fix"]) == ("problem", "dcsh-pg db upgrade")


def test_the_rights_of_a_role(database, role):
    dsn = make_conninfo(database, user=role, password="hunter2")
    found = examined(dsn)["role"]
    assert found.status == doctor.PROBLEM
    assert found.fix == f"its owner runs: dcsh-pg db grant --read {role}"
    with psycopg.connect(database, autocommit=True) as conn:
        rights.grant(conn, role)
        assert examined(dsn)["role"].found == f"{role} may search"
        rights.grant(conn, role, write=True)
        assert examined(dsn)["role"].found == f"{role} may search and load"


@pytest.mark.parametrize(
    "dsn", ["postgresql://me:hunter2@127.0.0.1:1/maps", "host=127.0.0.1 hunter2", "hunter2"]
)
def test_no_password_is_printed(dsn, capfd):
    done = CliRunner().invoke(app, ["doctor", "--dsn", dsn])
    assert done.exit_code == 1
    assert "problem  server" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    assert capfd.readouterr() == ("", ""), "libpq spoke"


def test_nothing_is_started_and_torch_is_not_loaded(tmp_path):
    before = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules))\n"
    done = run(before=before, DCSH_PG_DATA=str(tmp_path / "data"))
    assert done.stdout.splitlines()[-1] == "False"
    assert "not created yet" in done.stdout
    assert not (tmp_path / "data").exists()


def test_a_library_that_does_not_load_is_reported_and_the_rest_examined(database):
    done = run("--dsn", database, before="import sys; sys.modules['rasterio'] = None\n")
    assert done.returncode == 1
    assert "problem  rasterio" in done.stdout
    assert "ok       schema" in done.stdout
    assert "Traceback" not in done.stderr


def test_two_onnxruntimes_at_once(tmp_path):
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{name}-9.9.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n")
    done = run(PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "onnxruntime 9.9, onnxruntime-gpu 9.9 are all installed" in done.stdout
    assert "fix: pip uninstall onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu" in (
        done.stdout
    )

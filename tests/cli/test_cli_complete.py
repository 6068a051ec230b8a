"""Completion in a shell: commands, options and the names of archives."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
from synthetic import new_archive

from dcsh_pg.database.server.dsn import url

PROGRAM = [sys.executable, "-c", "import sys; sys.argv[0] = 'dcsh-pg'; "
           "from dcsh_pg.cli.main import run; run()"]  # fmt: skip


def completed(line: str, **environment: str) -> set[str]:
    """What bash offers at the end of a line."""
    asked = {
        "_DCSH_PG_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    done = subprocess.run(
        PROGRAM, capture_output=True, text=True, env=os.environ | asked | environment
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_names_of_archives_are_completed(database):
    with psycopg.connect(database, autocommit=True) as conn:
        for name in ("fields", "forests", "water"):
            new_archive(conn, name)
    at = {"DATABASE_URL": database}
    assert completed("dcsh-pg search f", **at) == {"fields", "forests"}
    assert completed("dcsh-pg archive drop w", **at) == {"water"}
    assert completed(f"dcsh-pg archive show --dsn {url(database)} f", DATABASE_URL="host=/none") == {
        "fields", "forests",
    }  # fmt: skip


def test_commands_and_options_are_completed():
    assert completed("dcsh-pg sea") == {"search"}
    assert completed("dcsh-pg archive sh") == {"show"}
    assert "--format" in completed("dcsh-pg search naip --fo")


def test_a_server_that_cannot_be_reached_completes_nothing():
    nowhere = "host=127.0.0.1 port=9 dbname=x"
    assert completed("dcsh-pg search f", DATABASE_URL=nowhere) == set()


def test_no_server_is_started(tmp_path, monkeypatch):
    for name in ("DATABASE_URL", "PGHOST", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    assert completed("dcsh-pg search f", DCSH_PG_DATA=str(tmp_path)) == set()
    assert list(tmp_path.iterdir()) == []

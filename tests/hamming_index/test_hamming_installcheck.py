"""``make installcheck``, which packagers run with PostgreSQL's own test driver."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

SOURCES = Path(__file__).parents[2] / "dcsh_pg" / "sql" / "hamming_index"


@pytest.fixture(scope="module")
def pg_config(programs_of) -> Path:
    """A pg_config whose installation has make rules and a pg_regress that runs: a wheel's may not."""
    candidates = (programs_of(18) / "pg_config", programs_of(16) / "pg_config", "pg_config")
    for candidate in filter(shutil.which, map(str, candidates)):
        pgxs = subprocess.run([candidate, "--pgxs"], capture_output=True, text=True).stdout.strip()
        regress = Path(pgxs).parents[1] / "test" / "regress" / "pg_regress"
        if (
            Path(pgxs).exists()
            and regress.exists()
            and subprocess.run([regress, "--version"], capture_output=True).returncode == 0
        ):
            return Path(candidate)
    pytest.skip("no pg_regress: install Debian's postgresql-server-dev-all, for example")


def test_installcheck(hamming_admin, pg_config, tmp_path):
    server = conninfo_to_dict(hamming_admin)
    sources = shutil.copytree(SOURCES, tmp_path / "sources")
    done = subprocess.run(
        ["make", "-s", "installcheck", f"PG_CONFIG={pg_config}", "CONTRIB_TESTDB=installcheck"],
        cwd=sources, capture_output=True, text=True,
        env=os.environ | {
            "PGHOST": server["host"], "PGPORT": server["port"],
            "PGUSER": server["user"], "PGPASSWORD": server["password"],
        },
    )  # fmt: skip
    differences = sources / "regression.diffs"
    assert done.returncode == 0, differences.read_text() if differences.exists() else done.stderr

"""Servers with the extension in them, built from sql/hamming_index into copies of the bundled ones.

programs_of    gives such a server by its version
programs       folder of the programs of such a server: PostgreSQL 18, then 16
hamming_admin  a running one's superuser; shared by the tests (hamming_admin_of: by programs)
db             a connection to a database of one's own with the extension
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.database.server.programs import bundled, copied

INSTALLED_VARIABLE = "DCSH_TEST_HAMMING_BIN"
SOURCES = Path(__file__).parents[2] / "dcsh_pg" / "sql" / "hamming_index"


def find_compiler() -> str:
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return found
    pytest.skip("no C compiler")


@pytest.fixture(scope="session")
def compiler() -> str:
    return find_compiler()


@pytest.fixture(scope="session")
def programs_of(server_folder) -> Callable[[int], Path]:
    """Major version -> folder of the programs of a bundled server with the extension in it."""

    @cache
    def install(major: int) -> Path:
        compiler = find_compiler()
        if not shutil.which("make"):
            pytest.skip("no make")
        if major not in bundled():
            pytest.skip(f"the bundle has no PostgreSQL {major}")
        # A copy of our own, also to install into, which another user can run where root's folders are closed.
        installed = copied(bundled()[major], server_folder / f"installed{major}").parent
        config = installed / "bin" / "pg_config"
        include = subprocess.run(
            [config, "--includedir-server"], capture_output=True, text=True, check=True
        )
        if not (Path(include.stdout.strip()) / "postgres.h").exists():
            pytest.skip(f"the bundled PostgreSQL {major} has no server headers")
        sources = shutil.copytree(
            SOURCES, server_folder / f"sources{major}", ignore=shutil.ignore_patterns("*.o")
        )
        subprocess.run(
            ["make", "-s", "install", f"PG_CONFIG={config}", f"CC={compiler}"],
            cwd=sources,
            check=True,
            capture_output=True,
        )
        return installed / "bin"

    return install


@pytest.fixture(
    scope="session",
    params=[18, 16] + ["installed"] * (INSTALLED_VARIABLE in os.environ),
    ids="pg{}".format,
)
def programs(request, programs_of) -> Path:
    if request.param == "installed":
        return Path(os.environ[INSTALLED_VARIABLE])
    return programs_of(request.param)


@pytest.fixture(scope="session")
def hamming_admin_of(server_folder, no_outer_database) -> Iterator[Callable[[Path], str]]:
    """Programs -> superuser of their server, which runs to the end: tests may come in any order."""
    servers = []

    @cache
    def start(programs: Path) -> str:
        server = EmbeddedServer(server_folder / f"hamming-{programs.parent.name}", programs)
        servers.append(server)
        server.start()
        admin = server.conninfo(database="postgres")
        with psycopg.connect(admin, autocommit=True) as conn:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                conn.execute(f"ALTER SYSTEM SET {setting} = off")
            conn.execute("SELECT pg_reload_conf()")
            conn.execute("CREATE DATABASE with_hamming")
            with psycopg.connect(admin, dbname="with_hamming") as made:
                made.execute("CREATE EXTENSION dcsh_hamming CASCADE")
        return admin

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def hamming_admin(programs, hamming_admin_of) -> str:
    return hamming_admin_of(programs)


@pytest.fixture
def dsn_of_db(hamming_admin) -> Iterator[str]:
    name = f"dcsh_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(hamming_admin, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE with_hamming")
        yield make_conninfo(hamming_admin, dbname=name)
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def db(dsn_of_db) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn_of_db, autocommit=True) as conn:
        yield conn

"""Servers and databases for the tests; each worker of pytest-xdist has servers of its own.

    dsn            a fresh, empty database on the embedded server (PostgreSQL 18)
    database       the same with the schema in it
    hamming        with the schema and the native index on the embedded server, or skipped
    any_hamming    the same, and with PostGIS
    postgis_dsn    a fresh, empty database on a server with PostGIS, or the test is skipped
    any_database   with the schema: embedded, embedded on PostgreSQL 16, and with PostGIS
    any_deployment the same, and on Citus with distributed archives (citus_cluster.py)
    any_postgis    with the schema and PostGIS: on one server, and on Citus with distributed archives

    model_file     a model with random weights, 64 bits, chips of 64 pixels
    scenes         a folder of four small georeferenced scenes
    look_in_qgis   opens a project in QGIS and reports of its layers, or skipped

All databases are libpq strings.  No test touches the user's own embedded server or the libpq environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

# Workers of pytest-xdist use the cores already; libraries read this when they are imported, and
# programs that a test starts inherit it.  More threads than cores spin while they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import psycopg
import pytest
import typer.main
import typer.testing
from citus_cluster import citus_cluster, citus_database  # noqa: F401
from psycopg.conninfo import make_conninfo

from dcsh_pg.database.server import migrate, native
from dcsh_pg.database.server.dsn import LIBPQ_VARIABLES
from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.database.server.native_build import PgConfig
from dcsh_pg.database.server.programs import bundled

FIRST = ("test_types.py",)
"""Files of long tests: begun last, one of them would leave the other worker without work."""

LOOK_IN_QGIS = Path(__file__).with_name("look_in_qgis.py")
POSTGIS_VARIABLE = "DCSH_TEST_POSTGIS_DSN"

MEMORY_BYTES = 4 * 2**30
"""Free memory that a file system needs before servers are put there."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in FIRST)


def memory_folder() -> str | None:
    """A file system in memory, where making a database takes a tenth of the time; or None."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return None
    system = os.statvfs(folder)
    has_room = system.f_bavail * system.f_frsize >= MEMORY_BYTES
    is_executable = not system.f_flag & os.ST_NOEXEC
    return str(folder) if has_room and is_executable else None


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """For data of servers.  Not below pytest's own folder: run as root, the servers belong to
    another user, and every pytest that starts shuts that folder to others."""
    with tempfile.TemporaryDirectory(
        prefix="dcsh-test-", dir=memory_folder(), ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture(scope="session", autouse=True)
def no_outer_database(server_folder) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in (*LIBPQ_VARIABLES, "DATABASE_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("DCSH_PG_DATA", str(server_folder))
        yield


@pytest.fixture(scope="session", autouse=True)
def command_line_built_once() -> Iterator[None]:
    """typer's runner builds the tree of all commands for each line that it is given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(typer.main.get_command))
        yield


@contextmanager
def running(server: EmbeddedServer) -> Iterator[str]:
    """Runs a server that forgets on a power cut, which makes it fast; gives its superuser's DSN."""
    server.start()
    try:
        admin = server.conninfo(database="postgres")
        with psycopg.connect(admin, autocommit=True) as conn:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                conn.execute(f"ALTER SYSTEM SET {setting} = off")
            conn.execute("SELECT pg_reload_conf()")
        yield admin
    finally:
        server.stop()


@contextmanager
def new_database(admin: str, template: str | None = None) -> Iterator[str]:
    """A database of its own for the time of the block; gives its DSN."""
    name = f"dcsh_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template0'}")
        try:
            yield make_conninfo(admin, dbname=name)
        finally:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def make_database():
    """:func:`new_database`, for tests with servers of their own."""
    return new_database


@contextmanager
def with_schema(admin: str) -> Iterator[str]:
    """A database with the schema, to make others of; gives its name."""
    with new_database(admin) as made:
        migrate.upgrade(made)
        yield psycopg.conninfo.conninfo_to_dict(made)["dbname"]


@pytest.fixture(scope="session")
def embedded_admin(no_outer_database) -> Iterator[str]:
    with running(EmbeddedServer.of()) as admin:
        yield admin


@pytest.fixture(scope="session")
def embedded_template(embedded_admin) -> Iterator[str]:
    with with_schema(embedded_admin) as template:
        yield template


@pytest.fixture(scope="session")
def postgres16_admin(server_folder, no_outer_database) -> Iterator[str]:
    if 16 not in bundled():
        pytest.skip("the bundle has no PostgreSQL 16")
    older = server_folder / "older"  # beside a cluster of 16 the embedded server would be one of 16
    older.mkdir(mode=0o711)
    with running(EmbeddedServer(older / "pg16", bundled()[16])) as admin:
        yield admin


@pytest.fixture(scope="session")
def postgres16_template(postgres16_admin) -> Iterator[str]:
    with with_schema(postgres16_admin) as template:
        yield template


@pytest.fixture(scope="session")
def postgis_admin() -> str:
    if not os.environ.get(POSTGIS_VARIABLE):
        pytest.skip(f"no PostGIS: export {POSTGIS_VARIABLE}=$(.ci/postgis) sets one up (as root)")
    return make_conninfo(os.environ[POSTGIS_VARIABLE])


@pytest.fixture(scope="session")
def postgis_template(postgis_admin) -> Iterator[str]:
    with with_schema(postgis_admin) as template:
        yield template


@pytest.fixture
def dsn(embedded_admin) -> Iterator[str]:
    with new_database(embedded_admin) as made:
        yield made


@pytest.fixture
def database(embedded_admin, embedded_template) -> Iterator[str]:
    with new_database(embedded_admin, embedded_template) as made:
        yield made


@pytest.fixture
def hamming(database) -> str:
    skip_without_hamming(database)
    return database


@pytest.fixture(params=["embedded", "postgis"])
def any_hamming(request) -> str:
    name = {"embedded": "database", "postgis": "postgis_database"}[request.param]
    database = request.getfixturevalue(name)
    skip_without_hamming(database)
    return database


def skip_without_hamming(database: str) -> None:
    with psycopg.connect(database) as conn:
        if not conn.execute("SELECT FROM pg_am WHERE amname = 'hamming'").fetchall():
            server = EmbeddedServer.of()
            config = PgConfig.read(server.programs / "pg_config")
            state = native.status(config, native.InstallFolders.embedded(server.cluster, config))
            pytest.skip(f"no native index: {state.obstacle or 'the server does not have it'}")


@pytest.fixture
def postgis_dsn(postgis_admin) -> Iterator[str]:
    with new_database(postgis_admin) as made:
        yield made


@pytest.fixture
def postgis_database(postgis_admin, postgis_template) -> Iterator[str]:
    with new_database(postgis_admin, postgis_template) as made:
        yield made


@pytest.fixture(params=["embedded", "postgres16", "postgis"])
def any_database(request) -> Iterator[str]:
    yield from _database_on(request)


@pytest.fixture(params=["embedded", "postgres16", "postgis", "citus"])
def any_deployment(request) -> Iterator[str]:
    if request.param == "citus":
        yield request.getfixturevalue("citus_database")
    else:
        yield from _database_on(request)


@pytest.fixture(params=["postgis", "citus"])
def any_postgis(request) -> str:
    return request.getfixturevalue(f"{request.param}_database")


def _database_on(request) -> Iterator[str]:
    admin = request.getfixturevalue(f"{request.param}_admin")
    template = request.getfixturevalue(f"{request.param}_template")
    with new_database(admin, template) as made:
        yield made


@pytest.fixture(scope="session")
def model_file(tmp_path_factory) -> Path:
    torch = pytest.importorskip("torch", reason="making a model needs the extra 'train'")
    from dcsh_pg.export import export
    from dcsh_pg.learning.encoders import Encoder
    from dcsh_pg.learning.heads import MLPHead
    from dcsh_pg.learning.model.hash_function import HashFunction

    torch.manual_seed(0)
    encoder = Encoder("small")
    hash_function = HashFunction(encoder, MLPHead(encoder.dim, 64), method="random").eval()
    file = tmp_path_factory.mktemp("model") / "model.onnx"
    export(hash_function, file, name="random", chip_size=64)
    return file


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Path:
    from dcsh_pg.synthetic.archive import make_archive

    folder = tmp_path_factory.mktemp("scenes")
    make_archive(folder, locations=2)
    return folder


@pytest.fixture(scope="session")
def look_in_qgis():
    """Opens a project in QGIS without a screen; gives what it says of the layers."""
    python = os.environ.get("DCSH_TEST_QGIS_PYTHON", "/usr/bin/python3")
    if subprocess.run(
        ["sh", "-c", f"{python} -c 'import qgis.core'"], capture_output=True
    ).returncode:
        pytest.skip("no QGIS: install Debian's python3-qgis, or name DCSH_TEST_QGIS_PYTHON")

    def run(project: Path) -> dict:
        environment = {"QT_QPA_PLATFORM": "offscreen", "PATH": os.environ["PATH"]}
        environment["HOME"] = str(project.parent)
        done = subprocess.run(
            [python, LOOK_IN_QGIS, project, project.with_suffix(".png")],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run

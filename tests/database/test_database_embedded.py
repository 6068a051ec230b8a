"""The embedded server: started by whoever comes first, alive after its client, hard to kill."""

import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from dcsh_pg.database import connection, migrate
from dcsh_pg.database.embedded import EmbeddedServer, bundled
from dcsh_pg.errors import ServerError

START = (
    "import sys; from pathlib import Path; from dcsh_pg.database.embedded import EmbeddedServer;"
    "print(EmbeddedServer.of(folder=Path(sys.argv[1])).start())"
)


@pytest.fixture
def server(server_folder, tmp_path):
    made = EmbeddedServer.of(folder=server_folder / tmp_path.name)
    yield made
    made.stop()


def postmaster(server):
    return int((server.cluster / "postmaster.pid").read_text().split("\n")[0])


def test_processes_that_start_it_at_once_share_one_server_that_outlives_them(server):
    command = [sys.executable, "-c", START, str(server.cluster.parent)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = {process.communicate()[0].strip() for process in started}
    assert told == {server.conninfo()}
    with psycopg.connect(server.conninfo()) as conn:
        assert conn.info.host == "127.0.0.1"
        assert conn.execute("SELECT current_database()").fetchone() == ("dcsh",)


def test_it_comes_back_after_kill_9_with_its_port_and_its_data(server):
    conninfo = server.start()
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 1 AS one")
    os.kill(postmaster(server), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while server.is_running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.start() == conninfo
    with psycopg.connect(conninfo) as conn:
        assert conn.execute("SELECT one FROM kept").fetchone() == (1,)


def test_a_stale_pid_file_of_a_living_process_does_not_stop_it(server):
    server.start()
    pid_file = server.cluster / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    assert server.stop() and not server.is_running() and not server.stop()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    server.start()
    assert postmaster(server) != os.getpid()


def test_it_moves_when_another_server_took_its_port(server, embedded_admin):
    server.start()
    server.stop()
    taken = psycopg.conninfo.conninfo_to_dict(embedded_admin)["port"]
    server.cluster.with_name(server.cluster.name + ".port").write_text(taken)
    assert not server.is_running()
    server.start()
    assert psycopg.conninfo.conninfo_to_dict(server.conninfo())["port"] != taken


def test_a_wrong_password_is_refused(server):
    conninfo = server.start()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(conninfo, password="wrong")
    assert server.cluster.with_name(server.cluster.name + ".key").stat().st_mode & 0o077 == 0


def test_an_attempt_that_was_cut_off_is_swept_away(server):
    leftover = server.cluster / "base"
    leftover.mkdir(parents=True)
    server.start()
    assert server.is_running()


def test_an_installed_postgresql_has_a_cluster_of_its_own(server_folder, tmp_path):
    server = EmbeddedServer.of(bundled()[16], folder=server_folder / tmp_path.name)
    assert server.cluster.name == "pg16-installed"
    try:
        with psycopg.connect(server.start()) as conn:
            assert conn.info.server_version // 10000 == 16
    finally:
        server.stop()


def test_an_existing_cluster_keeps_its_version(server_folder, tmp_path):
    folder = server_folder / tmp_path.name
    (folder / "pg16").mkdir(parents=True)
    (folder / "pg16" / "PG_VERSION").write_text("16\n")
    assert EmbeddedServer.of(folder=folder).programs == bundled()[16]


def test_no_postgresql_in_the_folder(tmp_path):
    with pytest.raises(ServerError, match="no PostgreSQL server in") as error:
        EmbeddedServer.of(tmp_path)
    assert "--pg-bin" in error.value.hint


def test_the_embedded_server_gets_its_schema_by_itself(embedded_admin):
    with connection.connect() as conn:
        migrate.require_current(conn)
        assert migrate.status(conn).layer == "core"

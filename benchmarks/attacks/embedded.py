"""Kills, exhausted connections, damaged files and concurrent starts of the embedded server.

Each call does one of these to a temporary server, sometimes while it is down, and then checks the
promises: the next command opens the server, wherever it was interrupted, or fails with one line and a
hint; every committed row is there; a program that listens on the port does not get the password.

    python benchmarks/attacks/embedded.py --minutes 60
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict
from support.attack import Attack, run
from support.port_listener import listening

from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.database.server.postmaster import Postmaster
from dcsh_pg.errors import ServerError

COMMAND = """
import sys
from pathlib import Path
from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.errors import ServerError
server = EmbeddedServer.of(folder=Path(sys.argv[1]))
try:
    if sys.argv[2] == "open":
        server.open().close()
    else:
        getattr(server, sys.argv[2])()
except ServerError as error:
    sys.exit(f"{error.message} / {error.hint}")
"""
committed: list[int] = []
"""The rows that must exist."""


def make_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="dcsh-attack-"))
    folder.chmod(0o711)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def server() -> EmbeddedServer:
    """The server of all calls, with a table."""
    made = EmbeddedServer.of(folder=make_folder())
    atexit.register(made.stop)
    with made.open() as conn:
        conn.execute("CREATE TABLE kept (n bigint)")
        conn.execute("ALTER SYSTEM SET max_connections = 12")
        conn.execute("ALTER SYSTEM SET fsync = off")
    made.stop()
    return made


def beside(suffix: str) -> Path:
    return server().cluster.with_name(server().cluster.name + suffix)


def command(what: str, folder: Path | None = None) -> subprocess.Popen:
    """A process that starts, opens or stops the server."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(folder or server().cluster.parent), what],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_backend(attack: Attack, rng: random.Random) -> None:
    """Kills a backend of this client, or one of the server's own processes."""
    with server().open() as conn, contextlib.suppress(psycopg.Error):
        backends = conn.execute("SELECT pid FROM pg_stat_activity").fetchall()
        os.kill(rng.choice(backends)[0], signal.SIGKILL)
        committed_now(conn, rng)


def committed_now(conn: psycopg.Connection, rng: random.Random) -> None:
    number = rng.getrandbits(40)
    conn.execute("INSERT INTO kept VALUES (%s)", [number])
    committed.append(number)


def kill_server(attack: Attack, rng: random.Random) -> None:
    """Kills the postmaster, sometimes with all its children."""
    served = Postmaster.of(server().cluster)
    if served is None:
        return
    process = psutil.Process(served.pid)
    children = process.children() if rng.random() < 0.5 else []
    for one in (process, *children):
        with contextlib.suppress(psutil.Error):
            one.kill()


def fill_connections(attack: Attack, rng: random.Random) -> None:
    """Uses all connections: the server is running, and the error names max_connections."""
    server().open().close()
    conninfo = server().conninfo()
    held = []
    try:
        while True:
            held.append(psycopg.connect(conninfo))
    except psycopg.OperationalError:
        pass
    try:
        if not server().is_running():
            attack.fault("full connections", "taken for a server that is down")
        server().start()
        try:
            server().open().close()
            attack.fault("full connections", "one more was opened")
        except ServerError as error:
            if "max_connections" not in (error.hint or ""):
                attack.fault("full connections", f"{error.message} / {error.hint}")
    finally:
        for one in held:
            one.close()


def damage_file(attack: Attack, rng: random.Random) -> None:
    """Damages or deletes a file beside the cluster: the server works, or one line names the file."""
    suffix = rng.choice((".port", ".key", ".log", ".lock"))
    file = beside(suffix)
    if rng.random() < 0.5:
        server().stop()
    before = file.read_bytes() if file.exists() else None
    if rng.random() < 0.4:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(rng.choice((b"", b"\n", b"0", b"99999", b"\xff\xfe", rng.randbytes(30))))
    try:
        server().open().close()
    except ServerError as error:
        if (file.name not in error.message and "password" not in error.message) or not error.hint:
            attack.fault(f"damaged {file.name}", f"{error.message} / {error.hint}")
    if suffix == ".key":
        if rng.random() < 0.5 or before is None:
            server().change_password()
        else:
            file.write_bytes(before)
            file.chmod(0o600)
    elif suffix == ".port" and not server().is_running():
        file.unlink(missing_ok=True)


def damage_pid_file(attack: Attack, rng: random.Random) -> None:
    """Leaves a postmaster.pid as after a crash of the machine, with the pid of any process."""
    kill_server(attack, rng)
    file = server().cluster / "postmaster.pid"
    others = [one.pid for one in psutil.process_iter() if one.pid > 1]
    lines = file.read_text().splitlines() if file.exists() else ["1", "x", "0", "5432", "", "", ""]
    lines[0] = str(rng.choice(others))
    garbage = (b"", b"garbage\n", b"\0" * 100, "\n".join(lines).encode())
    file.write_bytes(rng.choice(garbage))


def start_at_once(attack: Attack, rng: random.Random) -> None:
    """Opens the server by several commands at once, while others stop it; it was up, down or killed."""
    if rng.random() < 0.7:
        rng.choice((lambda: server().stop(), lambda: kill_server(attack, rng)))()
    stops = rng.choice((0, 0, 1))
    running = [command("open") for _ in range(rng.randrange(2, 5))]
    running += [command("stop") for _ in range(stops)]
    for process in running:
        message = process.communicate()[1]
        if process.returncode != 0 and not stops:
            attack.fault("started at once", message.strip()[-500:])
        elif "Traceback" in message:
            attack.fault("started and stopped at once", message.strip()[-500:])


def kill_start(attack: Attack, rng: random.Random) -> None:
    """Kills a command while it starts the server or creates the cluster."""
    folder = make_folder() if rng.random() < 0.3 else None
    if folder is None:
        server().stop()
    process = command("open", folder)
    time.sleep(rng.uniform(0, 4))
    process.kill()
    process.communicate()
    if folder is not None:
        other = EmbeddedServer.of(folder=folder)
        try:
            other.open().close()
        finally:
            other.stop()
            shutil.rmtree(folder, ignore_errors=True)


def listen_in_its_place(attack: Attack, rng: random.Random) -> None:
    """Another program listens on the port while the server is down."""
    server().open().close()
    conninfo = server().conninfo()
    parts = conninfo_to_dict(conninfo)
    server().stop()
    with listening(int(parts["port"]), rng) as received:
        for connect in (
            lambda: psycopg.connect(conninfo, sslmode="disable"),
            lambda: server().open(),
        ):
            with contextlib.suppress(psycopg.OperationalError):
                connect().close()
    password = parts["password"].encode()
    if any(password in message or message.startswith(b"p") for message in received):
        attack.fault("another program on the port", "the password was sent to it")


ATTACKS = {
    "kill -9 of a backend": kill_backend,
    "kill -9 of the server": kill_server,
    "all connections in use": fill_connections,
    "a damaged file beside the cluster": damage_file,
    "a damaged or foreign postmaster.pid": damage_pid_file,
    "starts and stops at once": start_at_once,
    "kill -9 of a command that starts it": kill_start,
    "another program on its port": listen_in_its_place,
}


def once(attack: Attack, rng: random.Random) -> None:
    what = rng.choice([*ATTACKS])
    attack.tried(what)
    try:
        ATTACKS[what](attack, rng)
    except ServerError as error:
        attack.fault(what, f"{error.message} / {error.hint}")
    try:
        with server().open() as conn:
            kept = {n for (n,) in conn.execute("SELECT n FROM kept").fetchall()}
            committed_now(conn, rng)
    except ServerError as error:
        attack.fault(f"after: {what}", f"{error.message} / {error.hint}")
        server().stop()
        return
    if lost := set(committed[:-1]) - kept:
        attack.fault(f"after: {what}", f"{len(lost)} committed rows lost")
    if mode_of(".key") != 0o600 or mode_of(".log") != 0o600:
        attack.fault(f"after: {what}", "others can read the password or the log")


def mode_of(suffix: str) -> int:
    """Mode of a file; 0600 for one that an attack deleted."""
    file = beside(suffix)
    return file.stat().st_mode & 0o777 if file.exists() else 0o600


if __name__ == "__main__":
    run(__doc__, once)

"""Killing servers, waiting for them, and standbys that check what they replay."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dcsh_pg.database.server.embedded import EmbeddedServer

SECONDS = 60


def kill(server: EmbeddedServer) -> None:
    """kill -9 of the postmaster and all of its children at once."""
    number = int((server.cluster / "postmaster.pid").read_text().split("\n")[0])
    postmaster = psutil.Process(number)
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        # A child may end by itself when the postmaster is gone.
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=10)


def flush_wal(conn: psycopg.Connection) -> None:
    """Writes out what all sessions have logged so far, so that a crash does not lose it."""
    conn.execute("SELECT pg_logical_emit_message(true, '', '')")


def kill_backend(process: int, witness: psycopg.Connection) -> None:
    """kill -9 of a backend; returns when the server has noticed, which ends all sessions.

    Until then the server still lets sessions in, and ends them a moment later.
    """
    os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while not witness.broken:
        assert time.monotonic() < deadline, "the server does not notice"
        try:
            witness.execute("SELECT pg_sleep(0.01)")
        except psycopg.OperationalError:
            break


def connect_again(dsn: str) -> psycopg.Connection:
    """Connects as soon as a server that recovers lets one in."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return psycopg.connect(dsn, autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def make_standby(primary: EmbeddedServer) -> EmbeddedServer:
    """Starts a standby of a running server, which has every page that it replays compared with the
    primary's own."""
    with psycopg.connect(primary.conninfo(), autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET wal_consistency_checking = 'generic'")
        # A primary that crashes twice before its standby is back would remove what that still needs.
        conn.execute("ALTER SYSTEM SET wal_keep_size = '1GB'")
        conn.execute("SELECT pg_reload_conf()")
    made = EmbeddedServer(
        primary.cluster.with_name(primary.cluster.name + "-standby"), primary.programs
    )
    key, log = (made.cluster.with_name(made.cluster.name + suffix) for suffix in (".key", ".log"))
    key.write_bytes(primary.cluster.with_name(primary.cluster.name + ".key").read_bytes())
    log.touch()
    made.cluster.mkdir(mode=0o700)
    owner = primary.cluster.stat()
    for path in (key, log, made.cluster):
        os.chown(path, owner.st_uid, owner.st_gid)
    source = conninfo_to_dict(primary.conninfo())
    del source["dbname"]
    primary._runner.run(
        "pg_basebackup", "-d", make_conninfo(**source), "-D", made.cluster,
        "-R", "-X", "stream", "-c", "fast", "--no-sync",
    )  # fmt: skip
    made.start()
    return made


def wait_for_replay(primary: str, standby: str) -> None:
    """Until the standby has replayed what the primary has written so far."""
    with psycopg.connect(primary, autocommit=True) as conn:
        wanted = conn.execute("SELECT pg_current_wal_lsn()").fetchone()[0]
    with psycopg.connect(standby, autocommit=True) as conn:
        deadline = time.monotonic() + SECONDS
        while not conn.execute(
            "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [wanted]
        ).fetchone()[0]:
            assert time.monotonic() < deadline, "the standby does not replay"
            time.sleep(0.02)

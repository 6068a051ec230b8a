"""A PostgreSQL with the native index that an attack may kill and damage."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import psycopg

from dcsh_pg.database.server.embedded import EmbeddedServer
from support.attack import PATIENCE

SETTINGS = {"fsync": "off", "autovacuum": "off", "max_wal_size": "4GB"}


class OwnServer:
    """The embedded server in a temporary folder, with data checksums."""

    def __init__(self, **settings: str):
        folder = Path(tempfile.mkdtemp(prefix="dcsh-index-attack-"))
        folder.chmod(0o755)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.server = EmbeddedServer.of(folder=folder)
        self.dsn = self.server.start()
        atexit.register(self.server.stop)
        self.server.install_native()
        with self.connect() as conn:
            for name, value in {**SETTINGS, **settings}.items():
                conn.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            conn.execute("SELECT pg_reload_conf()")
            conn.execute("CREATE EXTENSION IF NOT EXISTS dcsh_hamming CASCADE")

    def connect(self) -> psycopg.Connection:
        """Connects once the server has recovered, if it crashed."""
        deadline = time.monotonic() + 60 * PATIENCE
        while True:
            try:
                return psycopg.connect(self.dsn, autocommit=True)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def restart(self) -> None:
        self.server.stop()
        self.dsn = self.server.start()


def kill(conn: psycopg.Connection, dsn: str) -> None:
    """Kills a session's backend with SIGKILL; returns once the server has noticed and restarts."""
    with psycopg.connect(dsn, autocommit=True) as witness:
        os.kill(conn.info.backend_pid, signal.SIGKILL)
        for victim in (conn, witness):
            while not victim.broken:
                try:
                    victim.execute("SELECT pg_sleep(0.01)")
                except psycopg.OperationalError:
                    break
    conn.close()

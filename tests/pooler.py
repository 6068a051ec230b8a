"""PgBouncer before a database, in each of its modes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

MODES = ("session", "transaction", "statement")
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def pgbouncer(dsn: str, folder: Path, *, pool_size: int = 2) -> Iterator[dict[str, str]]:
    """Runs PgBouncer before a database; gives a DSN for each mode.

    The mode's pool has ``pool_size`` connections, so that clients share them.
    """
    if PROGRAM is None:
        pytest.skip("no pgbouncer: install Debian's package of that name")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    there = conninfo_to_dict(dsn)
    keys = ("host", "port", "dbname", "user", "password")
    at = " ".join(f"{key}={there[key]}" for key in keys if there.get(key))
    lines = [
        "[databases]",
        *(f"{mode} = {at} pool_mode={mode} pool_size={pool_size}" for mode in MODES),
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = any",
        f"logfile = {folder}/pgbouncer.log",
    ]
    folder.mkdir()
    (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
    who = {}
    if os.getuid() == 0:
        # It refuses to run as root.
        who = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(folder, "nobody", "nogroup")
    output = open(folder / "output", "wb")  # noqa: SIM115  (closed below)
    process = subprocess.Popen(
        [PROGRAM, folder / "pgbouncer.ini"], stdout=output, stderr=output, cwd="/", **who
    )
    made = {
        mode: make_conninfo(host="127.0.0.1", port=port, user="anyone", dbname=mode)
        for mode in MODES
    }
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(made["session"]).close()
                break
            except psycopg.OperationalError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((folder / "output").read_text()) from None
                time.sleep(0.05)
        yield made
    finally:
        process.kill()
        process.wait()
        output.close()

"""Three PostgreSQL servers for archives over several of them.

Their programs are those of the server with PostGIS (.ci/postgis), which has postgres_fdw.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

PASSWORD = 'it\'s \\ "quite" secret'
ROOTS = (Path("/"), Path("/var/lib/dcsh-pg-test/debian"))
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
dynamic_shared_memory_type = mmap
fsync = off
full_page_writes = off
synchronous_commit = off
max_connections = 30
shared_buffers = 32MB
"""


def installed(extension: str) -> tuple[Path, Path] | None:
    """The newest PostgreSQL that has an extension: the root it runs in, its programs in there."""
    # With a star, because PostGIS's is a link that is good only inside of the root.
    found = [
        (int(control.parts[-3]), root)
        for root in ROOTS
        for control in root.glob(f"usr/share/postgresql/*/extension/{extension}*.control")
    ]
    if not found:
        return None
    major, root = max(found)
    return root, Path(f"/usr/lib/postgresql/{major}/bin")


@contextmanager
def server(root: Path, programs: Path) -> Iterator[str]:
    """A throw-away cluster that asks for a password; gives its superuser's DSN."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cluster = Path(f"/var/lib/postgresql/dcsh-pg-test-{port}")
    outside = root / cluster.relative_to("/")

    def run(*command: object) -> None:
        line = shlex.join(str(part) for part in command)
        in_root = ["chroot", root, "su", "postgres", "-s", "/bin/sh", "-c", line]
        # The server inherits these streams, so a pipe would never end.
        with open(outside.with_suffix(".log"), "a+") as log:
            done = subprocess.run(in_root, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            if done.returncode != 0:
                log.seek(0)
                raise RuntimeError(f"{line}:\n{log.read()}")

    key = outside.with_suffix(".key")
    try:
        key.write_text(PASSWORD)
        key.chmod(0o644)
        run(
            *(programs / "initdb", "-D", cluster, "-N", "-E", "UTF8", "--locale=C"),
            *("-A", "scram-sha-256", f"--pwfile={cluster.with_suffix('.key')}"),
        )
        with open(outside / "postgresql.conf", "a") as configuration:
            configuration.write(SETTINGS)
        run(programs / "pg_ctl", "-w", "-D", cluster, "-o", f"-p {port}", "start")
        try:
            yield make_conninfo(
                host="127.0.0.1", port=port, dbname="postgres", user="postgres", password=PASSWORD
            )
        finally:
            run(programs / "pg_ctl", "-D", cluster, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(outside, ignore_errors=True)
        for suffix in (".key", ".log"):
            outside.with_suffix(suffix).unlink(missing_ok=True)


@pytest.fixture(scope="session")
def three_servers() -> Iterator[list[str]]:
    """DSNs of the superusers of three servers that have postgres_fdw and pgvector."""
    if os.geteuid() != 0:
        pytest.skip("three servers are started in the root of .ci/postgis: run as root")
    place = installed("postgres_fdw")
    if place is None or installed("vector") != place:
        pytest.skip("no PostgreSQL with postgres_fdw and pgvector: .ci/postgis installs one")
    with ExitStack() as servers:
        yield [servers.enter_context(server(*place)) for _ in range(3)]

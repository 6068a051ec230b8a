"""``dcsh-pg ingest`` in a process that is killed or cut off at a chosen moment.

It is forked from a process that has imported everything, so that hundreds of them can be killed in
minutes.  The moment is an exchange with the server: the n-th time that it waits for an answer.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import time
import uuid
from pathlib import Path

import psycopg

from dcsh_pg.ingest import storing
from support.attack import PATIENCE

SECONDS = 60 * PATIENCE
"""The most time an ingest may take; more is a fault."""

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["dcsh_pg.cli.main", "dcsh_pg.archive", "onnxruntime", "rasterio",
                             "pydantic.type_adapter", "numpy.ma"])  # fmt: skip


def ingest(command: list[str], flush: int, at: int | None, harm: str, output: str) -> None:
    """Runs ``dcsh-pg ingest`` in the forked process, harmed at the exchange ``at``."""
    from dcsh_pg.cli.main import run

    with open(output, "w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    storing.FLUSH_CHIPS = flush
    exchange, count = psycopg.Connection.wait, 0

    def harmed(conn, *arguments, **options):
        nonlocal count
        count += 1
        if count == at:
            HARMS[harm](conn)
        return exchange(conn, *arguments, **options)

    psycopg.Connection.wait = harmed
    sys.argv = ["dcsh-pg", "ingest", *command]
    run()


def cut(conn: psycopg.Connection) -> None:
    with socket.socket(fileno=os.dup(conn.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


HARMS = {
    "kill of the client": lambda conn: os.kill(os.getpid(), signal.SIGKILL),
    "kill of the session": lambda conn: os.kill(conn.info.backend_pid, signal.SIGTERM),
    "cut connection": cut,
    "kill -9 of the session": lambda conn: os.kill(conn.info.backend_pid, signal.SIGKILL),
    "kill -9 of the server": lambda conn: os.kill(postmaster(conn), signal.SIGKILL),
    "pause": lambda conn: os.kill(os.getpid(), signal.SIGSTOP),
}


def postmaster(conn: psycopg.Connection) -> int:
    status = Path(f"/proc/{conn.info.backend_pid}/stat").read_text()
    return int(status.rpartition(")")[2].split()[1])


class Ingest:
    """A running ingest; ``harm`` happens at its exchange number ``at`` with the server."""

    def __init__(self, place, dsn, *sources, model=0, flush=30, harm="", at=None):
        self.output = place.folder / uuid.uuid4().hex
        command = ["a", *map(str, sources), "--quiet", "--batch-size", "8", "--threads", "2",
                   "--model", str(place.models[model]), "--dsn", dsn]  # fmt: skip
        self.process = FORK.Process(
            target=ingest, args=(command, flush, at, harm, str(self.output))
        )
        self.process.start()

    def is_paused(self) -> bool:
        """Waits until it is paused (True) or has ended (False)."""
        while self.process.exitcode is None:
            status = Path(f"/proc/{self.process.pid}/stat").read_text()
            if status.rpartition(")")[2].split()[0] == "T":
                return True
            time.sleep(0.01)
        return False

    def resume(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # resumed before, it has ended
            os.kill(self.process.pid, signal.SIGCONT)

    def end(self, *allowed: int) -> int:
        """Waits for its end; an exit code other than 0 and those ``allowed`` is a fault."""
        self.process.join(SECONDS)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            raise AssertionError(f"no end after {SECONDS} s")
        output = self.output.read_text() if self.output.exists() else ""
        self.output.unlink(missing_ok=True)
        if code not in (0, *allowed):
            raise AssertionError(f"exit code {code}: {output.strip()[-600:]}")
        return code

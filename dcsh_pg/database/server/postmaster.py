"""The server process of a cluster: whether it runs, its port, and what it answers.

``postmaster.pid`` in the cluster names the process and the port.  A refused connection proves
nothing: a server that recovers, shuts down or has all its connections in use is running.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from psycopg import pq
from psycopg.conninfo import make_conninfo

ANSWER_SECONDS = 5


@dataclass(frozen=True)
class Postmaster:
    """The process that serves a cluster.

    Attributes:
        pid: its process id.
        port: of 127.0.0.1.
    """

    pid: int
    port: int

    @classmethod
    def of(cls, cluster: Path) -> Postmaster | None:
        """The process that serves ``cluster`` now, or None.

        Raises:
            OSError: the cluster cannot be read.
        """
        try:
            lines = _pid_file(cluster).read_text().splitlines()
            pid, port = int(lines[0]), int(lines[3])
        except (FileNotFoundError, ValueError, IndexError):
            return None
        return cls(pid, port) if serves(pid, cluster) else None

    def answer(self) -> pq.Ping:
        """``OK`` if it accepts connections, ``REJECT`` while it starts, recovers or shuts down.

        No password is sent; a wrong one, or too many connections, do not change the answer.
        """
        conninfo = make_conninfo(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            dbname="postgres",
            sslmode="disable",
            connect_timeout=ANSWER_SECONDS,
        )
        return pq.Ping(pq.PGconn.ping(conninfo.encode()))


def serves(pid: int, cluster: Path) -> bool:
    """True if the process is a PostgreSQL that serves this very cluster.

    The pid alone is not enough: after a crash or a reboot it may be another program's, or that of
    another cluster's server.  In containers it may be that of a dead process that was never reaped.

    Raises:
        OSError: the cluster cannot be read.
    """
    import psutil

    try:
        process = psutil.Process(abs(pid))
        if "postgres" not in process.name() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        if os.name == "posix" and process.uids().effective != cluster.stat().st_uid:
            return False
        try:
            folder = process.cwd()
        except psutil.AccessDenied:
            # Root without CAP_SYS_PTRACE, as in most containers.
            folder = _named_cluster(process.cmdline())
    except psutil.Error:
        return False
    return os.path.realpath(folder) == os.path.realpath(cluster)


def sweep_stale(cluster: Path) -> None:
    """Removes ``postmaster.pid`` if it is damaged or its pid is that of another program, as after a
    power cut or a reboot, or of a dead process that was never reaped, as in containers.

    PostgreSQL itself handles a pid that no process has, and detects by its shared memory whether
    children of a killed server still run.
    """
    file = _pid_file(cluster)
    with contextlib.suppress(FileNotFoundError):
        try:
            pid = int(file.read_text(errors="replace").split("\n", 1)[0])
        except ValueError:
            file.unlink()
            return
        if not serves(pid, cluster):
            file.unlink()


def _pid_file(cluster: Path) -> Path:
    return cluster / "postmaster.pid"


def _named_cluster(command: list[str]) -> str:
    """The argument of ``-D``, as pg_ctl passes it."""
    return command[command.index("-D") + 1] if "-D" in command[:-1] else ""


def free_port(preferred: int | None) -> int:
    """``preferred`` of 127.0.0.1, or another port if that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name != "nt")
        try:
            probe.bind(("127.0.0.1", preferred or 0))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

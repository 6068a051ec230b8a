"""The server process of a cluster: whether it runs, on which port, and what it answers.

``postmaster.pid`` in the cluster says which process and which port.  A refusal of a connection says
nothing about that: a server that recovers, shuts down or has all its connections in use runs.
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
        pid: its number.
        port: of 127.0.0.1.
    """

    pid: int
    port: int

    @classmethod
    def of(cls, cluster: Path) -> Postmaster | None:
        """The process that serves ``cluster`` now, or None.

        Raises:
            OSError: the cluster cannot be looked into.
        """
        try:
            lines = _pid_file(cluster).read_text().splitlines()
            pid, port = int(lines[0]), int(lines[3])
        except (FileNotFoundError, ValueError, IndexError):
            return None
        return cls(pid, port) if serves(pid, cluster) else None

    def answer(self) -> pq.Ping:
        """``OK`` when it takes connections, ``REJECT`` while it starts, recovers or shuts down.

        No password is sent; a wrong one, or too many connections, make no difference.
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
    """True when the process is a PostgreSQL that works on this very cluster.

    The number alone says little: after a crash or a reboot it may belong to another program, or to
    the server of another cluster.  In containers it may belong to a dead process that was never
    reaped.

    Raises:
        OSError: the cluster cannot be looked into.
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
    """Removes ``postmaster.pid`` when it is damaged or its number belongs to something else, as after
    a power cut, after a reboot, or to a dead process that was never reaped, as in containers.

    PostgreSQL itself copes with a number that nobody has, and sees by the shared memory whether
    children of a killed server are still at work.
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


def free_port(wanted: int | None) -> int:
    """``wanted`` of 127.0.0.1, or another one where that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name != "nt")
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

"""Kills and restarts the nodes of a Citus cluster, for ``distributed.py``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from support.attack import PATIENCE

SECONDS = 90 * PATIENCE


def kill_all(processes: list[int]) -> None:
    """Sends SIGKILL and waits until the processes are gone."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    until = time.monotonic() + 10
    while time.monotonic() < until and any(Path(f"/proc/{one}").exists() for one in processes):
        time.sleep(0.01)


class Nodes:
    """The coordinator and the workers, all on this machine.

    Attributes:
        dsn: of the coordinator, as superuser; with durable commits, because a crash of the
            coordinator would lose what workers have committed.
        nodes: name -> DSN.
    """

    def __init__(self, dsn: str, restart_command: str | None):
        self.dsn = make_conninfo(dsn, options="-c synchronous_commit=on")
        self.restart_command = restart_command
        self.nodes = {"coordinator": self.dsn}
        rows = self.sql("SELECT node_name, node_port FROM citus_get_active_worker_nodes()")
        for host, port in sorted(rows):
            self.nodes[f"worker {port}"] = make_conninfo(self.dsn, host=host, port=port)

    def sql(self, query: str, node: str = "coordinator", *parameters):
        with psycopg.connect(self.nodes[node], autocommit=True, connect_timeout=10) as conn:
            done = conn.execute(query, parameters)
            return done.fetchall() if done.description else []

    def hold_commits(self, hold: bool) -> None:
        change = "SET synchronous_standby_names = 'nobody'" if hold else "RESET ALL"
        self.sql(f"ALTER SYSTEM {change}")
        self.sql("SELECT pg_reload_conf()")

    def prepared(self) -> int:
        query = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"
        return sum(self.sql(query, node)[0][0] for node in self.nodes)

    def kill_server(self, node: str) -> None:
        """Kills all processes of a node at once, as a power cut does."""
        ((pid,),) = self.sql(r"SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)", node)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        kill_all([int(pid), *map(int, children)])

    def kill_backend(self, node: str, application: str) -> None:
        query = (
            "SELECT pid FROM pg_stat_activity WHERE application_name ~ %s"
            " AND datname = current_database() ORDER BY state = 'active' DESC LIMIT 1"
        )
        kill_all([pid for (pid,) in self.sql(query, node, application)])

    def recover(self, finish: bool = True) -> None:
        """Restarts nodes that are down, releases commits, and finishes prepared transactions."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            try:
                for node in self.nodes:
                    self.sql("SELECT", node)
                self.hold_commits(False)
                if not finish:
                    return
                self.sql("SELECT recover_prepared_transactions()")
                if not self.prepared():
                    return
            except psycopg.Error:
                if self.restart_command:
                    subprocess.run(self.restart_command, shell=True, capture_output=True)
            time.sleep(0.2)
        raise TimeoutError("the cluster does not recover")

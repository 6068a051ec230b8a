"""Kills clients, workers and the coordinator of a Citus cluster under a distributed archive.

Each call creates an archive, starts a load, a replacement, a removal, ``distribute`` or
``undistribute`` in a child process, and kills (SIGKILL) that client, one of its backends, a worker or
the coordinator: at a random moment, or between the two phases of a commit, for which the coordinator
is held (it waits for a standby that does not exist) until the workers have prepared.  Another client
searches all the time.  Every answer must contain all chips whose commit had returned before the kill.
After a restart and the same command again, in half of the calls after
``recover_prepared_transactions``, the rows, ids included, must be those of one clean run on one server.

    export DSN=$(.ci/citus 5460 /var/lib/dcsh-pg-test/citus-attack)
    python benchmarks/attacks/distributed.py --minutes 60 --dsn "$DSN" \\
        --restart '.ci/citus 5460 /var/lib/dcsh-pg-test/citus-attack'

All nodes must run on this machine, with ``--dsn`` as superuser, and this program as root or as
their owner.  The database is ruined.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from functools import cache

import psycopg
from psycopg.conninfo import make_conninfo
from support.attack import Attack, run
from support.citus_nodes import SECONDS
from support.distributed_archive import (
    BY_ID,
    NAME,
    OPERATIONS,
    SCENES,
    Archive,
    fork,
    must_have,
)

from dcsh_pg import codes as packed
from dcsh_pg.database.search.hits import hits
from dcsh_pg.database.search.query import CodeQuery
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import DcshError


@cache
def archive(dsn: str, restart: str) -> Archive:
    return Archive(Run.options)


class Run:
    """One operation, the searches beside it, and the kill."""

    options = None

    def __init__(self, attack: Attack, nodes: Archive, what: str):
        self.attack, self.nodes, self.what = attack, nodes, what
        self.done = fork.Value("i", 0)
        self.killed_at: int | None = None
        self.over = threading.Event()

    def child(self) -> None:
        dsn = make_conninfo(self.nodes.dsn, application_name="attacked")
        try:
            with connect(dsn) as conn:
                OPERATIONS[self.what](conn, self.done)
        except (DcshError, psycopg.Error):
            os._exit(3)

    def searches(self) -> None:
        query, conn = BY_ID[5], None
        away = packed.hamming(BY_ID, query)[:, 0]
        while not self.over.is_set():
            before = self.done.value if self.killed_at is None else self.killed_at
            try:
                conn = conn or connect(self.nodes.dsn)
                rows = hits(conn, NAME, CodeQuery(query.tobytes()), k=10_000)
            except (DcshError, psycopg.Error) as error:
                conn = None
                self.attack.tried("search refused")
                is_moved = "distribute" in self.what and "repeat" in str(getattr(error, "hint", ""))
                if self.killed_at is None and not self.over.is_set() and not is_moved:
                    self.attack.fault(
                        f"search beside {self.what}", f"fails before a kill: {error!r}"
                    )
                self.over.wait(0.05)
                continue
            after = self.done.value if self.killed_at is None else SCENES
            self.attack.tried("search answered")
            found = [hit.id for hit in rows]
            missing = must_have(self.what, before, after) - set(found)
            if missing:
                kill = "no kill" if self.killed_at is None else "the kill"
                self.attack.fault(
                    f"search beside {self.what}",
                    f"{len(missing)} committed chips of {before} scenes are missing after {kill}",
                )
            if len(found) != len(set(found)):
                self.attack.fault(f"search beside {self.what}", "a chip twice")
            if [hit.distance for hit in rows] != [away[id - 1] for id in found]:
                self.attack.fault(f"search beside {self.what}", "wrong distances")
            if found != sorted(found, key=lambda id: (away[id - 1], id)):
                self.attack.fault(f"search beside {self.what}", "wrong order")

    def kill(self, rng: random.Random, victim: str, process) -> None:
        self.killed_at = self.done.value
        node = rng.choice([node for node in self.nodes.nodes if node != "coordinator"])
        if victim == "client":
            process.kill()
        elif victim == "backend of the client":
            self.nodes.kill_backend("coordinator", "^attacked$")
        elif victim == "backend of a worker":
            self.nodes.kill_backend(node, "^citus_internal")
        else:
            self.nodes.kill_server("coordinator" if victim == "coordinator" else node)


def once(attack: Attack, rng: random.Random) -> None:
    Run.options = attack.options
    nodes = archive(attack.options.dsn, attack.options.restart)
    what = rng.choice(list(OPERATIONS))
    victims = ["client", "backend of the client", "backend of a worker"]
    if attack.options.restart:
        victims += ["worker", "coordinator"] * 2
    victim = rng.choice(victims)
    between = what != "search" and rng.random() < 0.5
    nodes.recover()
    finish = rng.random() < 0.5
    nodes.prepare(what, distribute=what != "distribute")
    one = Run(attack, nodes, what)
    process = fork.Process(target=one.child)
    process.start()
    searching = threading.Thread(target=one.searches)
    searching.start()
    moment = rng.random() * (0.15 if "distribute" in what or what == "removal" else 0.6)
    try:
        time.sleep(moment)
        if between:
            nodes.hold_commits(True)
            while process.is_alive() and not nodes.prepared():
                time.sleep(0.005)
        caught = process.is_alive()
        one.kill(rng, victim, process)
        time.sleep(rng.random() / 4)
        nodes.recover(finish)
        process.join(SECONDS)
        if process.is_alive():
            attack.fault(what, f"hangs {SECONDS} s after a kill of the {victim}")
            process.kill()
        elif process.exitcode not in (0, 3, -signal.SIGKILL):
            attack.fault(what, f"ends with {process.exitcode} after a kill of the {victim}")
    finally:
        one.over.set()
        searching.join()
    phase = "between prepare and commit" if between else "at random"
    attack.tried(f"{victim} killed, {what}, {phase}" if caught else f"{what} ended before the kill")
    left = f"after a kill of the {victim} {phase}, {moment:.3f} s, recovered: {finish}"
    check(attack, nodes, what, left, finish)


def check(attack: Attack, nodes: Archive, what: str, left: str, finish: bool) -> None:
    nodes.recover(finish)
    if finish:
        stored = Counter(row[1] for row in nodes.rows())
        if stored != dict(nodes.sql("SELECT id - min(id) OVER (), chips FROM dcsh.scene")):
            attack.fault(what, f"scenes and chips differ {left}")
    with connect(nodes.dsn) as conn:
        try:
            OPERATIONS[what](conn, fork.Value("i"))
        except DcshError as error:
            if finish or "recover_prepared_transactions" not in str(error.hint):
                raise
            attack.tried("rerun refused until the commit is finished")
            nodes.recover()
            OPERATIONS[what](conn, fork.Value("i"))
    nodes.recover()
    rows, clean = nodes.rows(), nodes.clean[what]
    if rows != clean:
        attack.fault(what, f"{len(set(clean) - set(rows))} rows lost, {len(set(rows) - set(clean))} more {left}")  # fmt: skip
    shards = {f"{NAME}_{n}" for (n,) in nodes.sql("SELECT shardid FROM pg_dist_shard")}
    for node in nodes.nodes:
        query = (
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^attacked_[0-9]+$'"
            " AND set_config('citus.show_shards_for_app_name_prefixes', '*', false) <> ''"
        )
        stray = {name for (name,) in nodes.sql(query, node)} - shards
        if stray:
            attack.fault(what, f"shards of no table on {node} {left}: {sorted(stray)}")


def add_options(parser) -> None:
    parser.add_argument("--dsn", required=True, help="coordinator; the database is ruined")
    parser.add_argument("--restart", metavar="COMMAND", help="restarts the killed nodes")


if __name__ == "__main__":
    run(__doc__, once, add_options=add_options)

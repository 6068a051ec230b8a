"""Kills clients, workers and the coordinator of a Citus cluster under a distributed archive.

Each call makes an archive, starts a load, a replacement, a removal, ``distribute`` or
``undistribute`` in a process of its own, and kills (SIGKILL) that client, one of its backends, a
worker or the coordinator: at a random moment, or between the two phases of a commit, where the
coordinator is held (it waits for a standby that does not exist) until the workers have prepared.
Another client searches all the time.  Every answer must have all chips whose commit had returned
before the kill.  After the restart and the same command again, in half of the calls with
``recover_prepared_transactions`` before it, the rows, ids included, must be those of one clean run
on one server.

    export DSN=$(.ci/citus 5460 /var/lib/dcsh-pg-test/citus-attack)
    python benchmarks/attacks/distributed.py --minutes 60 --dsn "$DSN" \\
        --restart '.ci/citus 5460 /var/lib/dcsh-pg-test/citus-attack'

All nodes must run on this machine, with ``--dsn`` as superuser, and this program as root or as
their owner.  The database is spoilt.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from functools import cache

import numpy as np
import psycopg
import shapely
from attack import Attack, run
from citus_nodes import SECONDS, Nodes
from psycopg.conninfo import make_conninfo

from dcsh_pg import codes as packed
from dcsh_pg.card import ModelCard
from dcsh_pg.database.archives import distributed, registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search.hits import hits
from dcsh_pg.database.search.query import CodeQuery
from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import DcshError

NAME, SCENES, CHIPS = "attacked", 8, 40
ALL = set(range(1, SCENES * CHIPS + 1))
CODES = np.random.default_rng(0).integers(0, 256, (2, SCENES, CHIPS, 8), dtype=np.uint8)
BY_ID = CODES.reshape(-1, 8)
fork = multiprocessing.get_context("fork")


class Record:
    """Scene ``number``, in its first content or its second."""

    collection = item_id = acquired = None
    proj_code = "EPSG:4326"

    def __init__(self, generation: int, number: int):
        self.uri = f"{number}.tif"
        self.content_hash = hashlib.sha256(f"{generation}/{number}".encode()).hexdigest()
        self.properties = {}


def load(conn, done, generation: int = 0) -> None:
    loader = Loader(conn, registry.get_archive(conn, NAME))
    known = loader.known()
    windows = np.array([[64 * n, 0, 64, 64] for n in range(CHIPS)], np.int32)
    places = [shapely.box(n, 0, n + 1, 1) for n in range(CHIPS)]
    for number in range(SCENES):
        scene = Record(generation, number)
        if scene.content_hash not in known:
            codes = CODES[generation, number]
            loader.add(scene, codes, windows, places, np.ones(CHIPS, np.float32), 0)
            refused = loader.flush()
            assert not refused, refused[0].error
        done.value = number + 1
    loader.finish()


def remove(conn, done) -> None:
    stored = Loader(conn, registry.get_archive(conn, NAME)).known().values()
    for number in range(0, SCENES, 2):
        if f"{number}.tif" in stored:
            registry.remove_scene(conn, NAME, f"{number}.tif")


OPERATIONS = {
    "load": load,
    "replacement": lambda conn, done: load(conn, done, 1),
    "removal": remove,
    "distribute": lambda conn, done: distributed.distribute(conn, NAME, shards=3),
    "undistribute": lambda conn, done: distributed.undistribute(conn, NAME),
    "search": lambda conn, done: time.sleep(1),
}


def ids(generation: int, numbers) -> set[int]:
    first = generation * len(ALL) + 1
    return {first + CHIPS * n + i for n in numbers for i in range(CHIPS)}


def must_have(what: str, before: int, after: int) -> set[int]:
    """Ids that an answer has, when so many scenes were done before it was asked and after it came."""
    if what == "load":
        return ids(0, range(before))
    if what == "replacement":
        return ids(0, range(after + 1, SCENES)) | ids(1, range(before))
    return ids(0, range(1, SCENES, 2)) if what == "removal" else ALL


class Archive(Nodes):
    """The archive under attack, and the rows of a clean run of each operation."""

    def __init__(self, options):
        migrate.upgrade(options.dsn)
        super().__init__(options.dsn, options.restart)
        self.clean = {}
        for what, operation in OPERATIONS.items():
            self.prepare("load" if what == "load" else "removal", distribute=False)
            with connect(self.dsn) as conn:
                if "distribute" not in what:
                    operation(conn, fork.Value("i"))
            self.clean[what] = self.rows()

    def prepare(self, what: str, distribute: bool) -> None:
        """A new archive, empty for a load and else with all scenes."""
        with connect(self.dsn) as conn:
            if any(archive.name == NAME for archive in registry.list_archives(conn)):
                registry.drop_archive(conn, NAME)
            card = ModelCard(
                name="synthetic", method="itq", bits=64, bands=3, chip_size=64, input_size=64,
                mean=(0.5,) * 3, std=(0.25,) * 3, encoder="none",
            )  # fmt: skip
            model = registry.store_model(conn, card, b"synthetic")
            registry.create_archive(conn, NAME, model, {"chip_size": 64})
            if what != "load":
                load(conn, fork.Value("i"))
            if distribute:
                distributed.distribute(conn, NAME)

    def rows(self) -> list[tuple]:
        return self.sql(
            f"""
            SELECT c.id, c.scene_id - (SELECT min(id) FROM dcsh.scene), s.uri, c.col_off,
                   c.geom::text, c.code::text, s.content_hash, s.chips
            FROM dcsh.{NAME} c LEFT JOIN dcsh.scene s ON s.id = c.scene_id ORDER BY c.id
            """
        )


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
    parser.add_argument("--dsn", required=True, help="coordinator; the database is spoilt")
    parser.add_argument("--restart", metavar="COMMAND", help="starts the nodes that were killed")


if __name__ == "__main__":
    run(__doc__, once, add_options=add_options)

"""Sixteen clients search an archive that others change at the same time.

Each call makes an archive with its index ``hamming`` on a server of the attack's own.  While scenes
are loaded, replaced and removed, while the index is rebuilt, dropped and made again and the table is
vacuumed, every client takes snapshots (REPEATABLE READ) and in each asks one question, reads all rows
and answers the question from these by brute force in numpy and shapely.  The two must be equal.

    python benchmarks/attacks/clients.py --minutes 60
"""

from __future__ import annotations

import atexit
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path

import numpy as np
import psycopg
import shapely
from attack import Attack, run
from brute_force import Snapshot

from dcsh_pg import codes as packed
from dcsh_pg.card import ModelCard
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search.change import find_changes
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import hits
from dcsh_pg.database.search.near_duplicates import near_duplicates
from dcsh_pg.database.search.query import ChipQuery, CodeQuery, ExamplesQuery
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.connection import snapshot
from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.errors import DcshError, NotFound

CLIENTS = 16
CHECKS = 10
SCENES = 40
CHIPS = 40
DAY = datetime(2021, 1, 1, tzinfo=timezone.utc)
DAYS = 20


@cache
def server() -> str:
    """The DSN of a server of this attack's own, with the schema and the index."""
    folder = Path(tempfile.mkdtemp(prefix="dcsh-attack-"))
    folder.chmod(0o711)
    made = EmbeddedServer.of(folder=folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(made.stop)
    made.start()
    made.install_native()
    with made.open() as conn:
        conn.execute("ALTER SYSTEM SET fsync = off")
        conn.execute("SELECT pg_reload_conf()")
        from dcsh_pg.database.server import migrate

        migrate.ensure(conn)
    return made.conninfo()


def ask(conn: psycopg.Connection, name: str, rng: random.Random) -> tuple[str, bool, int]:
    """One question in one snapshot: its kind, whether the answer was right, and how long it was."""
    with snapshot(conn):
        if rng.random() < 0.5:
            seen = Snapshot.of(conn, name)
            kind, found, expected = question(conn, name, rng, seen)
        else:
            conn.execute("SELECT")  # The snapshot is taken; others go on changing.
            ids = conn.execute(f"SELECT id FROM dcsh.{name} ORDER BY random() LIMIT 8").fetchall()
            time.sleep(rng.random() / 20)
            state = rng.getstate()
            seen = Snapshot.of(conn, name)
            rng.setstate(state)
            assert {one for (one,) in ids} <= set(seen.ids.tolist())
            kind, found, expected = question(conn, name, rng, seen)
    return kind, found == expected, len(expected)


def question(conn, name: str, rng: random.Random, seen: Snapshot):
    """(kind, the database's answer, brute force's) of a question of any kind."""
    bits = 8 * seen.codes.shape[1]
    n = rng.randrange(len(seen.ids))
    chip, code = int(seen.ids[n]), bytearray(seen.codes[n].tobytes())
    for _ in range(rng.randrange(6)):
        code[rng.randrange(len(code))] ^= 1 << rng.randrange(8)
    code = bytes(code)
    since = DAY + timedelta(days=rng.randrange(DAYS)) if rng.random() < 0.3 else None
    until = DAY + timedelta(days=rng.randrange(DAYS, 2 * DAYS)) if rng.random() < 0.3 else None
    x, y = rng.uniform(0, 8), rng.uniform(-1, 1)
    area = shapely.box(x, y, x + rng.uniform(0, 3), y + 1) if rng.random() < 0.4 else None
    radius = rng.randrange(bits // 4) if rng.random() < 0.3 else None
    k = rng.choice((1, 10, 100, 5000))
    kept = seen.during(since, until)
    if area is not None:
        kept &= shapely.intersects(seen.places, area)
    filters = {"area": area, "since": since, "until": until}
    others = seen.ids != chip

    def pairs(found):
        return [(hit.distance, hit.id) for hit in found]

    def nearest(distances, kept):
        if radius is not None:
            kept = kept & (distances <= radius)
        return seen.ordered(distances, kept)[:k]

    kind = rng.choice(("similar", "similar to", "within", "examples", "near duplicates", "change"))
    if kind == "similar":
        found = hits(conn, name, CodeQuery(code), Filter(max_distance=radius, **filters), k)
        return (
            kind,
            pairs(found),
            nearest(packed.hamming(seen.codes, np.frombuffer(code, np.uint8))[:, 0], kept),
        )
    if kind == "similar to":
        found = hits(conn, name, ChipQuery(chip), Filter(max_distance=radius, **filters), k)
        return (
            kind,
            pairs(found),
            nearest(packed.hamming(seen.codes, seen.codes[n])[:, 0], kept & others),
        )
    if kind == "within":
        reach = rng.randrange(bits // 3)
        away = packed.hamming(seen.codes, np.frombuffer(code, np.uint8))[:, 0]
        found = hits(conn, name, CodeQuery(code), Filter(max_distance=reach, **filters), None)
        return kind, pairs(found), seen.ordered(away, kept & (away <= reach))
    if kind == "examples":
        likes = rng.sample(range(len(seen.ids)), 3)
        away = packed.hamming(seen.codes, seen.codes[likes]).min(axis=1)
        query = ExamplesQuery(seen.ids[likes].tolist())
        found = hits(conn, name, query, Filter(max_distance=radius, **filters), k)
        return kind, pairs(found), nearest(away, kept & ~np.isin(seen.ids, seen.ids[likes]))
    if kind == "near duplicates":
        reach = rng.randrange(3)
        found = near_duplicates(conn, name, reach, Filter(**filters))
        rows = [(one.group_id, one.chip.id, one.chip.distance) for one in found]
        return kind, rows, seen.groups(reach, kept)
    middle = DAY + timedelta(days=rng.randrange(1, DAYS))
    found = find_changes(conn, name, (None, middle), (middle, None), min_overlap=0.4)
    return kind, [(one.distance, one.id, one.before_id) for one in found], seen.changes(middle, 0.4)


@dataclass
class SceneRecord:
    """What a Loader stores of a scene."""

    uri: str
    content_hash: str
    acquired: datetime
    collection: str | None = None
    item_id: str | None = None
    proj_code: str | None = "EPSG:4326"
    properties: dict | None = None


class Archive:
    """An archive of synthetic chips: clusters of codes, footprints on quarters of a degree."""

    def __init__(self, name: str, bits: int, rng: np.random.Generator):
        self.name, self.bits = name, bits
        self.centres = rng.integers(0, 256, (12, bits // 8), dtype=np.uint8)
        with connect(server()) as conn:
            card = ModelCard(
                name="synthetic", method="itq", bits=bits, bands=3, chip_size=64, input_size=64,
                mean=(0.5,) * 3, std=(0.25,) * 3, encoder="none",
            )  # fmt: skip
            model = registry.store_model(conn, card, b"%d bits" % bits)
            self.record = registry.create_archive(conn, name, model, {"chip_size": 64})
            loader = Loader(conn, self.record)
            for number in range(SCENES):
                self.add(loader, rng, number)
            loader.flush()
            loader.finish()

    def add(self, loader: Loader, rng: np.random.Generator, number: int) -> None:
        """A scene, which replaces the one of that number."""
        codes = self.centres[rng.integers(0, len(self.centres), CHIPS)].copy()
        flips = rng.random((CHIPS, self.bits)) < 0.03
        codes ^= np.packbits(flips, axis=1)
        x = rng.integers(0, 40) / 4 + np.arange(CHIPS) % 10
        y = np.arange(CHIPS) // 10 - 2
        windows = np.array([[64 * n, 0, 64, 64] for n in range(CHIPS)], np.int32)
        day = DAY + timedelta(days=int(rng.integers(0, DAYS)))
        scene = SceneRecord(f"{number}.tif", rng.bytes(32).hex(), day, properties={})
        places = list(shapely.box(x, y, x + 1, y + 1))
        loader.add(scene, codes, windows, places, np.ones(CHIPS, np.float32), 0)


def writers(archive: Archive) -> dict[str, Callable[[psycopg.Connection, random.Random], None]]:
    """What changes the archive meanwhile: name -> one step of it."""
    name = archive.name

    def load(conn, rng):
        loader = Loader(conn, archive.record)
        for number in rng.sample(range(SCENES), rng.randrange(1, 4)):
            archive.add(loader, np.random.default_rng(rng.getrandbits(32)), number)
        loader.flush()

    def remove(conn, rng):
        time.sleep(rng.random())  # A load takes as long: the archive keeps its size.
        try:
            registry.remove_scene(conn, name, f"{rng.randrange(SCENES)}.tif")
        except NotFound:
            return

    def index(conn, rng):
        (made,) = conn.execute(f"SELECT dcsh.create_code_index('{name}')::text").fetchone()
        step = rng.choice(("REINDEX INDEX", "REINDEX INDEX CONCURRENTLY", "drop"))
        if step == "drop":
            registry.drop_code_index(conn, name)
            registry.create_code_index(conn, name)
        else:
            conn.execute(f"{step} {made}")

    def vacuum(conn, rng):
        option = rng.choice(("", "(ANALYZE)", "(INDEX_CLEANUP ON)", "(FREEZE)"))
        conn.execute(f"VACUUM {option} dcsh.{name}")

    return {
        "load and replace": load,
        "remove": remove,
        "rebuild the index": index,
        "vacuum": vacuum,
    }


def once(attack: Attack, rng: random.Random) -> None:
    name = f"archive_{attack.call}"
    archive = Archive(name, rng.choice((16, 64, 256)), np.random.default_rng(rng.getrandbits(32)))
    done = threading.Event()

    def write(what, step, seed):
        own = random.Random(seed)
        with connect(server()) as conn:
            while not done.is_set():
                try:
                    step(conn, own)
                    attack.tried(what)
                except (DcshError, psycopg.Error) as error:
                    attack.fault(what, repr(error))
                done.wait(own.random() / 10)

    def client(seed):
        own = random.Random(seed)
        with connect(server()) as conn:
            for _ in range(CHECKS):
                try:
                    kind, is_right, rows = ask(conn, name, own)
                    attack.tried(f"{kind}, beside writers")
                    if not is_right:
                        attack.fault(kind, f"not what brute force finds ({rows} rows)")
                except (DcshError, psycopg.Error) as error:
                    attack.fault("a search fails", repr(error))

    steps = writers(archive)
    with ThreadPoolExecutor(CLIENTS + len(steps)) as threads:
        writing = [
            threads.submit(write, what, step, rng.getrandbits(32)) for what, step in steps.items()
        ]
        try:
            for searching in [threads.submit(client, rng.getrandbits(32)) for _ in range(CLIENTS)]:
                searching.result()
        finally:
            done.set()
        for one in writing:
            one.result()
    with connect(server()) as conn:
        scans = conn.execute(
            """
            SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_indexes JOIN pg_class c ON c.oid = indexrelid
            WHERE relname = %s AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'hamming')
            """.replace("WHERE relname", "WHERE pg_stat_user_indexes.relname"),
            [name],
        ).fetchone()[0]
        attack.tried("scans of the index in place at the end", int(scans))
        registry.drop_archive(conn, name)


if __name__ == "__main__":
    run(__doc__, once)

"""Searches by sixteen clients while others change the archive.

Each call creates an archive with its index ``hamming`` on a server of its own.  While scenes are
loaded, replaced and removed, the index is rebuilt, dropped and recreated, and the table is vacuumed,
every client takes snapshots (REPEATABLE READ), runs one search in each, reads all rows and answers the
same search from these by brute force in numpy and shapely.  The two answers must be equal.

    python benchmarks/attacks/clients.py --minutes 60
"""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import psycopg
import shapely
from support.attack import Attack, run
from support.brute_force import Snapshot
from support.busy_archive import DAY, DAYS, Archive, server, writers

from dcsh_pg import codes as packed
from dcsh_pg.database.archives import registry
from dcsh_pg.database.search.change import find_changes
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import hits
from dcsh_pg.database.search.near_duplicates import near_duplicates
from dcsh_pg.database.search.query import ChipQuery, CodeQuery, ExamplesQuery
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.connection import snapshot
from dcsh_pg.errors import DcshError

CLIENTS = 16
CHECKS = 10


def ask(conn: psycopg.Connection, name: str, rng: random.Random) -> tuple[str, bool, int]:
    """Runs one search in one snapshot; returns its kind, whether it was right, and its rows."""
    with snapshot(conn):
        if rng.random() < 0.5:
            seen = Snapshot.of(conn, name)
            kind, found, expected = random_search(conn, name, rng, seen)
        else:
            conn.execute("SELECT")  # takes the snapshot; other sessions go on writing
            ids = conn.execute(f"SELECT id FROM dcsh.{name} ORDER BY random() LIMIT 8").fetchall()
            time.sleep(rng.random() / 20)
            state = rng.getstate()
            seen = Snapshot.of(conn, name)
            rng.setstate(state)
            assert {one for (one,) in ids} <= set(seen.ids.tolist())
            kind, found, expected = random_search(conn, name, rng, seen)
    return kind, found == expected, len(expected)


def random_search(conn, name: str, rng: random.Random, seen: Snapshot):
    """A search of a random kind: (kind, the database's answer, the brute-force answer)."""
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
                        attack.fault(kind, f"differs from brute force ({rows} rows)")
                except (DcshError, psycopg.Error) as error:
                    attack.fault("search failed", repr(error))

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

"""Kills, lost connections, concurrent ingests, dropped archives and moved files during an ingest.

    python benchmarks/attacks/ingest.py --minutes 20 --out ingest.json
    python benchmarks/attacks/ingest.py --server --minutes 20

Each call writes a folder of small rasters, ingests it several times under one attack, then once
without, and compares the rows with those of one clean run, ids included unless several ingests of
different files ran at once or files were moved, because ids then depend on the order.  Nothing may be
lost, left over, or of another model.  The server is temporary; ``--server`` also kills it.
"""

from __future__ import annotations

import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from support import attack
from support.ingest_place import FILES, ROWS, STATE, Place, execute
from support.interrupted_ingest import HARMS, Ingest


class Attempt:
    """One call: a place, a database, a random generator, and the counts."""

    def __init__(self, tries: attack.Attack, place: Place, dsn: str, chance: random.Random):
        self.tries, self.place, self.dsn, self.chance = tries, place, dsn, chance
        self.harms = list(HARMS)[: 5 if tries.options.server else 3]

    def files(self) -> dict[str, int]:
        files = {f"{n}.tif": n for n in range(self.chance.randint(2, FILES))}
        self.place.fill(self.place.scenes, files)
        return files

    def start(self, *sources: Path, **options) -> Ingest:
        flush = self.chance.choice([1, 20, 60, 999])
        return Ingest(
            self.place, self.dsn, *(sources or [self.place.scenes]), flush=flush, **options
        )

    def harm(self) -> None:
        """Ingests and kills the ingest or cuts it off, unless it ends before."""
        at = self.chance.choice([None, *range(1, 10), *range(10, 80, 2)])
        harm = self.chance.choice(self.harms) if at else "kill of the client at some time"
        victim = self.start(at=at, harm=harm)
        if at is None:
            time.sleep(self.chance.uniform(0, self.place.seconds))
            victim.process.kill()
        if victim.end(3, -signal.SIGKILL) != 0:
            self.tries.tried(harm)
        self.place.recover()


def interrupted(at: Attempt) -> None:
    """Interrupts one ingest again and again."""
    files = at.files()
    for _ in range(at.chance.randint(1, 12)):
        at.harm()
    compare(at, files)


def at_once(at: Attempt) -> None:
    """Ingests the same files three times at once, one of them interrupted, beside an empty source."""
    files, unharmed = at.files(), [3] if at.tries.options.server else []
    at.place.fill(at.place.other, {})
    some = [at.start() for _ in range(2)]
    bad = at.start(at.place.other)
    at.harm()
    for process in some:
        process.end(*unharmed)
    bad.end(6, *unharmed)
    compare(at, files)


def parts_at_once(at: Attempt) -> None:
    """Ingests two overlapping parts of the files at once."""
    files = at.files()
    names = [at.place.scenes / name for name in files]
    parts = [at.chance.sample(names, at.chance.randint(1, len(names))) for _ in range(2)]
    for process in [at.start(*part) for part in parts]:
        process.end()
    compare(at, files, ids=False)


def recreated(at: Attempt) -> None:
    """Drops the archive during an ingest and creates one of another model in its place."""
    files, other = at.files(), {"other.tif": 0}
    at.place.fill(at.place.other, other)
    first = at.start(at=at.chance.randint(10, 80), harm="pause")
    paused = first.is_paused()
    try:
        execute(at.dsn, "SET lock_timeout = '0.3s'", "SELECT dcsh.drop_archive('a')")
        at.tries.tried("archive dropped under an ingest", paused)
    except (psycopg.errors.UndefinedTable, psycopg.errors.LockNotAvailable):
        if paused:  # perhaps within a transaction, which the next ingest would wait for
            first.resume()
    at.start(at.place.other, model=1).end(7)  # 7: the archive of the first is there
    if paused:
        first.resume()
    first.end(7, 10)
    query = "SELECT m.sha256 FROM dcsh.archive a JOIN dcsh.model m ON m.id = a.model_id"
    sha256 = execute(at.dsn, query)[0][0]
    model = at.place.sha256.index(sha256)
    right, _ = at.place.clean(at.place.scenes, files, model)
    other_right, _ = at.place.clean(at.place.other, other, model)
    found = {row[1:] for row in execute(at.dsn, ROWS)}
    if wrong := found - {row[1:] for row in right + other_right}:
        at.tries.fault("recreated", f"{len(wrong)} rows of another model: {sorted(wrong)[0]}")


def moved(at: Attempt) -> None:
    """Renames, replaces, swaps and removes files between runs, some of which are interrupted."""
    names = [f"{n}.tif" for n in range(8)]
    for _ in range(at.chance.randint(2, 5)):
        used = at.chance.sample(names, at.chance.randint(2, 6))
        files = dict(zip(used, at.chance.sample(range(FILES // 2), len(used)), strict=True))
        at.place.fill(at.place.scenes, files)
        at.harm()
    compare(at, files, ids=False)


def compare(at: Attempt, files: dict[str, int], *, ids: bool = True) -> None:
    """Ingests once more, and compares the folder's rows with those of one clean run."""
    at.start().end()
    there = {str(at.place.scenes / name) for name in files}
    found = [row[0 if ids else 1 :] for row in execute(at.dsn, ROWS) if row[1] in there | {None}]
    rows, state = at.place.clean(at.place.scenes, files)
    right = [row[0 if ids else 1 :] for row in rows]
    what = sys._getframe(1).f_code.co_name.replace("_", " ")
    if sorted(found, key=str) != sorted(right, key=str):
        strange = sorted(set(found) ^ set(right), key=str)[:2]
        at.tries.fault(what, f"{len(found)} rows, a clean run gives {len(right)}: {strange}")
    if (now := execute(at.dsn, STATE)) != state:
        at.tries.fault(what, f"state {now}, a clean run leaves {state}")


ATTEMPTS = [interrupted, interrupted, interrupted, at_once, parts_at_once, recreated, moved]


def once(place: Place, tries: attack.Attack, chance: random.Random) -> None:
    attempt = chance.choice(ATTEMPTS)
    with place.database() as dsn:
        attempt(Attempt(tries, place, dsn, chance))
    tries.tried(attempt.__name__.replace("_", " "))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="dcsh-attack-") as folder:
        place = Place(Path(folder))
        attack.run(
            __doc__,
            lambda tries, chance: once(place, tries, chance),
            add_options=lambda parser: parser.add_argument(
                "--server", action="store_true", help="also kill the server"
            ),
        )


if __name__ == "__main__":
    main()

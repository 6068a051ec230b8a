"""Attacks ingestion: kills, lost connections, several at once, archives dropped, files moved.

    python benchmarks/attacks/faults.py --minutes 20 --out faults.json
    python benchmarks/attacks/faults.py --server --minutes 20

Each call makes a folder of small rasters, ingests it some times under one attack, then once without,
and compares the rows with those of one clean run: ids included, unless several ran at once on
different files or files were moved, where ids have a history.  Nothing may be lost, left over, or of
another model.  The server is one of its own in a temporary folder; ``--server`` also kills it.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import attack
import numpy as np
import psycopg
from harmed_ingest import HARMS, Ingest
from index_server import OwnServer
from psycopg.conninfo import make_conninfo

from dcsh_pg.database.server import migrate

FILES, SIDE, CHIP = 12, 48, 16
ROWS = """
    SELECT c.id, s.uri, s.content_hash, c.col_off, c.row_off, c.code::text, c.geom::text, s.chips
    FROM dcsh.a c FULL JOIN dcsh.scene s ON s.id = c.scene_id
    ORDER BY c.id, s.uri
"""
STATE = """
    SELECT (SELECT string_agg(indexdef, ';' ORDER BY indexdef) FROM pg_indexes WHERE tablename = 'a'),
           (SELECT count(*) FROM pg_index WHERE NOT indisvalid),
           (SELECT count(*) FROM dcsh.ingest_error),
           (SELECT count(*) FROM dcsh.archive)
"""


class Place:
    """A server, two models, the contents of files, and how long a clean run takes."""

    def __init__(self, folder: Path):
        from hostile_onnx import base_model

        self.folder, self.scenes, self.other = folder, folder / "scenes", folder / "other"
        self.models = [folder / "first.onnx", folder / "second.onnx"]
        for seed, file in enumerate(self.models):
            file.write_bytes(base_model(bits=64, seed=seed).SerializeToString())
        self.sha256 = [hashlib.sha256(file.read_bytes()).hexdigest() for file in self.models]
        self.contents = [folder / f"content {n}" for n in range(FILES)]
        for n, file in enumerate(self.contents):
            write_raster(file, n)
        self.server = OwnServer()
        self.admin = make_conninfo(self.server.dsn, dbname="postgres")
        execute(self.admin, "CREATE DATABASE faults_template")
        migrate.upgrade(make_conninfo(self.admin, dbname="faults_template"))
        self._clean: dict[tuple, tuple] = {}
        self._databases: list[str] = []
        self.seconds = 1.0

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """One without archives, used again unless something goes wrong."""
        if not self._databases:
            self._databases.append(f"faults_{uuid.uuid4().hex[:12]}")
            execute(self.admin, f"CREATE DATABASE {self._databases[-1]} TEMPLATE faults_template")
        name = self._databases.pop()
        dsn = make_conninfo(self.admin, dbname=name)
        yield dsn
        execute(dsn, "SELECT dcsh.drop_archive(name) FROM dcsh.archive")
        self._databases.append(name)

    def recover(self) -> None:
        """Starts the server anew if it was killed."""
        self.server.server.start()
        with psycopg.connect(self.admin):
            pass

    def fill(self, folder: Path, files: dict[str, int]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in files.items():
            shutil.copy(self.contents[content], folder / name)

    def clean(self, folder: Path, files: dict[str, int], model: int = 0) -> tuple[list, list]:
        """Rows and state of one clean run on ``folder``, which holds ``files``."""
        key = (folder.name, model, *files.items())
        if key not in self._clean:
            with self.database() as dsn:
                began = time.monotonic()
                Ingest(self, dsn, folder, model=model).end()
                self.seconds = time.monotonic() - began
                self._clean[key] = execute(dsn, ROWS), execute(dsn, STATE)
        return self._clean[key]


def write_raster(file: Path, seed: int) -> None:
    """Each chip has a colour of its own, because the model looks at means."""
    import rasterio
    from rasterio.transform import from_origin

    colours = np.random.default_rng(seed).integers(
        0, 256, (3, SIDE // CHIP, SIDE // CHIP), np.uint8
    )
    place = from_origin(6e5 + 999 * seed, 4e6, 1, 1)
    with rasterio.open(file, "w", "GTiff", SIDE, SIDE, 3, "EPSG:32630", place, "uint8") as out:
        out.write(colours.repeat(CHIP, 1).repeat(CHIP, 2))


def execute(dsn: str, *queries: str) -> list[tuple]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for query in queries:
            cursor = conn.execute(query)
        return cursor.fetchall() if cursor.description else []


# -- attacks: each leaves the archive in any state that may be ----------------------------------------


class Attempt:
    """One call: a place, a database, random numbers, and the counts."""

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
        """Ingests and is killed or cut off, unless it ends before."""
        at = self.chance.choice([None, *range(1, 10), *range(10, 80, 2)])
        harm = self.chance.choice(self.harms) if at else "kill of the client at some time"
        victim = self.start(at=at, harm=harm)
        if at is None:
            time.sleep(self.chance.uniform(0, self.place.seconds))
            victim.process.kill()
        if victim.end(3, -signal.SIGKILL) != 0:
            self.tries.tried(harm)
        self.place.recover()


def harmed(at: Attempt) -> None:
    """One ingest, harmed again and again."""
    files = at.files()
    for _ in range(at.chance.randint(1, 12)):
        at.harm()
    compare(at, files)


def at_once(at: Attempt) -> None:
    """The same files three times, one of them harmed or not, beside a source of no use."""
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
    """Two ingest a part of the files each, which share some."""
    files = at.files()
    names = [at.place.scenes / name for name in files]
    parts = [at.chance.sample(names, at.chance.randint(1, len(names))) for _ in range(2)]
    for process in [at.start(*part) for part in parts]:
        process.end()
    compare(at, files, ids=False)


def made_anew(at: Attempt) -> None:
    """The archive is dropped, and another of the other model made in its place, while one pauses."""
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
        at.tries.fault("made anew", f"{len(wrong)} rows of another model: {sorted(wrong)[0]}")


def moved(at: Attempt) -> None:
    """Files are renamed, replaced, swapped and removed between runs, some of which are harmed."""
    names = [f"{n}.tif" for n in range(8)]
    for _ in range(at.chance.randint(2, 5)):
        used = at.chance.sample(names, at.chance.randint(2, 6))
        files = dict(zip(used, at.chance.sample(range(FILES // 2), len(used)), strict=True))
        at.place.fill(at.place.scenes, files)
        at.harm()
    compare(at, files, ids=False)


def compare(at: Attempt, files: dict[str, int], *, ids: bool = True) -> None:
    """Ingests once more, and compares what is stored of the folder with one clean run."""
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


ATTEMPTS = [harmed, harmed, harmed, at_once, parts_at_once, made_anew, moved]


def once(place: Place, tries: attack.Attack, chance: random.Random) -> None:
    attempt = chance.choice(ATTEMPTS)
    with place.database() as dsn:
        attempt(Attempt(tries, place, dsn, chance))
    tries.tried(attempt.__name__.replace("_", " "))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
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

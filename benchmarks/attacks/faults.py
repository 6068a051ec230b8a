"""Attacks ingestion: kills, lost connections, several at once, archives dropped, files moved.

    python benchmarks/attacks/faults.py --minutes 20 --out faults.json

Each call makes a folder of small rasters, ingests it under one attack, then runs the same command
again, and compares the rows with those of one clean run: ids included, unless several ran at once on
different files or files were moved, where ids have a history.  Nothing may be lost, left over, or of
another model.  ``--server`` also kills the server, one of its own below a temporary folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import attack
import numpy as np
import psycopg
import rasterio
from psycopg.conninfo import make_conninfo
from rasterio.transform import from_origin

from dcsh_pg.database import embedded, migrate

LETTERS, SIDE, CHIP = 12, 96, 32
INGEST = """
import sys
from dcsh_pg.database import load
from dcsh_pg.ingest import storing
storing.FLUSH_CHIPS = int(sys.argv[1])
from dcsh_pg.cli.main import run
sys.argv = ["dcsh-pg", "ingest", *sys.argv[2:]]
run()
"""
ROWS = """
    SELECT c.id, s.uri, s.content_hash, c.col_off, c.row_off, c.code::text, c.geom::text, s.chips
    FROM dcsh.{0} c FULL JOIN dcsh.scene s ON s.id = c.scene_id
    WHERE s.id IS NULL OR s.archive_id = (SELECT id FROM dcsh.archive WHERE name = '{0}')
    ORDER BY c.id, s.uri
"""


class Place:
    """A server, two models, and the contents of files, made once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.models = [folder / "first.onnx", folder / "second.onnx"]
        for seed, model in enumerate(self.models):
            write_model(model, seed)
        self.contents = folder / "contents"
        self.contents.mkdir()
        for n in range(LETTERS):
            write_raster(self.contents / str(n), n)
        os.environ["DCSH_PG_DATA"] = str(folder / "server")
        self.server = embedded.EmbeddedServer.of()
        self.restart()

    def restart(self) -> None:
        self.server.start()
        self.admin = self.server.conninfo(database="postgres")

    @contextlib.contextmanager
    def database(self):
        name = f"faults_{uuid.uuid4().hex[:12]}"
        execute(self.admin, f"CREATE DATABASE {name}")
        dsn = make_conninfo(self.admin, dbname=name)
        migrate.upgrade(dsn)
        try:
            yield dsn
        finally:
            execute(self.admin, f"DROP DATABASE {name} WITH (FORCE)")


def write_model(file: Path, seed: int) -> None:
    import torch

    from dcsh_pg.export import export
    from dcsh_pg.learning.encoders import Encoder
    from dcsh_pg.learning.hash_function import HashFunction
    from dcsh_pg.learning.heads import MLPHead

    torch.manual_seed(seed)
    encoder = Encoder("small")
    hash_function = HashFunction(encoder, MLPHead(encoder.dim, 64), method="random").eval()
    export(hash_function, file, name=f"model {seed}", chip_size=CHIP)


def write_raster(file: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, SIDE, SIDE), np.uint8)
    with rasterio.open(
        file, "w", "GTiff", SIDE, SIDE, 3, "EPSG:32630", from_origin(6e5 + 999 * seed, 4e6, 1, 1),
        "uint8",
    ) as out:  # fmt: skip
        out.write(pixels)


def execute(dsn: str, query: str, *arguments) -> list[tuple]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        cursor = conn.execute(query, arguments or None)
        return cursor.fetchall() if cursor.description else []


def start(place: Place, dsn: str, folder: Path, *, name="a", model=0, flush=30) -> subprocess.Popen:
    command = [sys.executable, "-c", INGEST, str(flush), name, str(folder), "--quiet", "--json",
               "--model", str(place.models[model]), "--batch-size", "8", "--dsn", dsn]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen, allowed=(0,)) -> str:
    out, said = process.communicate(timeout=300)
    if process.returncode not in allowed:
        raise AssertionError(f"exit code {process.returncode}: {said.strip()[-600:]}")
    return out


def rows(dsn: str, name: str = "a") -> list[tuple]:
    return execute(dsn, ROWS.format(name))


def without_ids(found: list[tuple]) -> list[tuple]:
    return sorted(row[1:] for row in found)


def fill(place: Place, folder: Path, files: dict[str, int]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        shutil.copy(place.contents / str(content), folder / name)


def backends(dsn: str) -> list[int]:
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    return [pid for (pid,) in execute(dsn, query) if pid]


# -- attacks: each leaves the folder as it is, and the archive in any state that may be ------------


def kill_client(place: Place, dsn: str, folder: Path, chance: random.Random) -> None:
    process = start(place, dsn, folder)
    time.sleep(chance.uniform(0.5, 5))
    process.send_signal(signal.SIGKILL)
    process.communicate()


def kill_backend(place: Place, dsn: str, folder: Path, chance: random.Random) -> None:
    process = start(place, dsn, folder)
    until = time.monotonic() + chance.uniform(1, 5)
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    for pid in backends(dsn):
        execute(dsn, "SELECT pg_terminate_backend(%s)", pid)
    finish(process, (0, 3))


def kill_server(place: Place, dsn: str, folder: Path, chance: random.Random) -> None:
    process = start(place, dsn, folder)
    time.sleep(chance.uniform(1, 5))
    postmaster = int((place.server.cluster / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    finish(process, (0, 3))
    place.restart()


def ingest_at_once(place: Place, dsn: str, folder: Path, chance: random.Random) -> None:
    processes = [start(place, dsn, folder, flush=chance.choice([1, 20, 999])) for _ in range(3)]
    if chance.random() < 0.3:
        time.sleep(chance.uniform(1, 4))
        processes[0].send_signal(signal.SIGKILL)
    for number, process in enumerate(processes):
        finish(process, (0, -signal.SIGKILL) if number == 0 else (0,))


def ingest_beside_a_bad_source(place: Place, dsn: str, folder: Path, chance: random.Random) -> None:
    nothing = folder.with_name("nothing")
    nothing.mkdir(exist_ok=True)
    (nothing / "notes.txt").touch()
    bad, good = start(place, dsn, nothing), start(place, dsn, folder, flush=10)
    finish(good)
    finish(bad, (6,))


def make_anew(place: Place, dsn: str, folder: Path, chance: random.Random) -> None:
    """Drops the archive and makes one of the other model in its place while an ingest runs."""
    process = start(place, dsn, folder, flush=5)
    other = folder.with_name("other")
    fill(place, other, {"other.tif": 0})
    time.sleep(chance.uniform(1, 4))
    with contextlib.suppress(psycopg.errors.UndefinedTable):
        execute(dsn, "SELECT dcsh.drop_archive('a')")
    second = start(place, dsn, other, model=1)
    finish(second, (0, 7))  # 7: the first made it again before
    finish(process, (0, 7, 10))
    check_models(place, dsn)
    with contextlib.suppress(psycopg.errors.UndefinedTable):
        execute(dsn, "SELECT dcsh.drop_archive('a')")


ATTACKS = [kill_client, kill_backend, ingest_at_once, ingest_beside_a_bad_source, make_anew]


def check_models(place: Place, dsn: str) -> None:
    """The codes of an archive are those of its model: compared with one ingest of each."""
    found = execute(
        dsn,
        "SELECT m.name FROM dcsh.archive a JOIN dcsh.model m ON m.id = model_id WHERE a.name = 'a'",
    )
    if not found:
        return
    model = int(found[0][0].split()[-1])
    for uri, folder in {row[1]: Path(row[1]).parent for row in rows(dsn)}.items():
        if uri is None:
            raise AssertionError("chips without a scene")
        finish(start(place, dsn, folder, name="clean", model=model))
    right = {row[1:] for row in rows(dsn, "clean")}
    execute(dsn, "SELECT dcsh.drop_archive('clean')")
    if wrong := [row for row in rows(dsn) if row[1:] not in right]:
        raise AssertionError(f"{len(wrong)} rows of another model")


def move_files(place: Place, dsn: str, folder: Path, chance: random.Random) -> dict[str, int]:
    """Ingests, renames, replaces, swaps and removes files, some times over, with kills between."""
    names = [f"{n}.tif" for n in range(8)]
    files = {}
    for _ in range(chance.randint(2, 4)):
        used = chance.sample(names, chance.randint(2, 6))
        files = dict(zip(used, chance.sample(range(LETTERS // 2), len(used)), strict=True))
        fill(place, folder, files)
        if chance.random() < 0.4:
            kill_client(place, dsn, folder, chance)
        else:
            finish(start(place, dsn, folder))
    return files


def once(tries: attack.Attack, chance: random.Random) -> None:
    place = PLACES[0]
    folder = Path(tempfile.mkdtemp(dir=place.folder)) / "scenes"
    attacks = [*ATTACKS, move_files, *([kill_server] if tries.options.server else [])]
    chosen = chance.choice(attacks)
    with place.database() as dsn:
        if chosen is move_files:
            move_files(place, dsn, folder, chance)
        else:
            fill(place, folder, {f"{n}.tif": n for n in range(chance.randint(2, LETTERS))})
            for _ in range(chance.randint(1, 2)):
                chosen(place, dsn, folder, chance)
        finish(start(place, dsn, folder))
        finish(start(place, dsn, folder, name="clean"))
        found, clean = rows(dsn), rows(dsn, "clean")
        if chosen is move_files:
            there = {str(file) for file in folder.iterdir()}
            kept = [row for row in found if row[1] in there]
            ids = [row[0] for row in found]
            same = without_ids(kept) == without_ids(clean) and len(set(ids)) == len(ids)
        else:
            same = found == clean
        what = chosen.__name__.replace("_", " ")
        tries.tried(what)
        if not same:
            tries.fault(what, f"{len(found)} rows, a clean run gives {len(clean)}: "
                        f"{json.dumps(sorted(set(found) ^ set(clean), key=str)[:2])}")  # fmt: skip
    shutil.rmtree(folder.parent, ignore_errors=True)


PLACES: list[Place] = []


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        os.chmod(folder, 0o755)
        PLACES.append(Place(Path(folder)))
        try:
            attack.run(
                __doc__,
                once,
                add_options=lambda parser: parser.add_argument(
                    "--server", action="store_true", help="also kill the server"
                ),
            )
        finally:
            PLACES[0].server.stop()


if __name__ == "__main__":
    main()

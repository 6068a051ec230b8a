"""Ingests damaged, hostile and odd files beside good ones.

Each call puts about forty bad files beside good scenes (see hostile_files.py), or hostile items into a
STAC file, or hostile rows into a sidecar, and ingests them in a process with limits on memory and time,
into a temporary embedded server.  The good scenes must get the same rows as in a run without the
others; every scene must be counted as stored, known or failed; the process must exit with 0 or 5,
without a traceback, and must not die of a signal; no request may reach a server that the files name, no
file outside may be read, and Ghostscript must not run.

    python benchmarks/attacks/files.py --minutes 60
"""

from __future__ import annotations

import atexit
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psycopg
import rasterio
from PIL import Image
from support.attack import PATIENCE, Attack, run
from support.hostile_files import Maker, dumped, mutated, seeds

MEMORY = 8 << 30
"""Bytes of address space, of which libraries and threads reserve some 3 GiB."""

SECONDS = 300 * PATIENCE
BAD_FILES = 40
ASKED: list[str] = []


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ASKED.append(self.path)
        self.send_error(404)

    do_HEAD = do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


class Place:
    """A folder with good scenes, a model, a server for the rows, and what must not be touched."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="dcsh-files-"))
        self.root.chmod(0o755)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.folder, self.bad = self.root / "in", self.root / "in" / "bad"
        self.bad.mkdir(parents=True)
        rng = np.random.default_rng(0)
        self.canary = self._raster(self.root / "canary.tif", rng)
        self.good = [self._raster(self.folder / f"good{n}.tif", rng) for n in range(3)]
        for n in range(2):
            path = self.folder / f"good{n}.png"
            Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
            self.good.append(path)
        self.maker = Maker(self.bad, self.canary, self.url, seeds(self.root, rng))
        (self.root / "bin").mkdir()
        (self.root / "bin" / "gs").write_text(f"#!/bin/sh\ntouch {self.root}/ran\n")
        (self.root / "bin" / "gs").chmod(0o755)
        self.environment = os.environ | {
            "DCSH_PG_DATA": str(self.root / "data"),
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
        }
        for variable in ("PGHOST", "PGSERVICE", "PGDATABASE"):
            self.environment.pop(variable, None)
        atexit.register(self.clear)
        self.model = self._model()
        self.dsn = self.command("db", "url").stdout.strip()

    def clear(self) -> None:
        self.command("db", "stop")
        shutil.rmtree(self.root, ignore_errors=True)

    @staticmethod
    def _raster(path: Path, rng: np.random.Generator) -> Path:
        with rasterio.open(
            path, "w", driver="GTiff", count=3, width=200, height=160, dtype="uint8",
            crs="EPSG:32632", transform=rasterio.Affine(1, 0, 5e5, 0, -1, 5.3e6),
        ) as target:  # fmt: skip
            target.write(rng.integers(1, 255, (3, 160, 200), dtype=np.uint8))
        return path

    def _model(self) -> Path:
        import torch

        from dcsh_pg.export import export
        from dcsh_pg.learning.encoders import Encoder
        from dcsh_pg.learning.heads import MLPHead
        from dcsh_pg.learning.model.hash_function import HashFunction

        torch.manual_seed(0)
        encoder = Encoder("small")
        function = HashFunction(encoder, MLPHead(encoder.dim, 64), method="random").eval()
        export(function, self.root / "model.onnx", name="random", chip_size=64)
        return self.root / "model.onnx"

    def command(self, *arguments: object) -> subprocess.CompletedProcess:
        def limit() -> None:
            if arguments[0] == "ingest":
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

        return subprocess.run(
            [
                sys.executable,
                "-c",
                "from dcsh_pg.cli.main import run; run()",
                *map(str, arguments),
            ],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=SECONDS,
            preexec_fn=limit,
        )

    def ingest(self, *sources: object) -> tuple[subprocess.CompletedProcess, list[tuple]]:
        """What a new archive says and has of the good scenes; it is dropped again."""
        options = ("--model", self.model, "--chip-size", 64, "--threads", 2, "--json", "-q")
        try:
            done = self.command("ingest", "attacked", *sources, *options)
            with psycopg.connect(self.dsn, autocommit=True) as conn:
                made = conn.execute("SELECT to_regclass('dcsh.attacked')").fetchone()[0]
                return done, self._rows(conn) if made else []
        finally:
            self.command("archive", "drop", "attacked", "--yes")

    def _rows(self, conn: psycopg.Connection) -> list[tuple]:
        return conn.execute(
            """
            SELECT s.uri, s.content_hash, s.acquired, c.col_off, c.row_off, c.width, c.height,
                c.valid_fraction, c.geom::text, c.code::text
            FROM dcsh.scene s JOIN dcsh.attacked c ON c.scene_id = s.id
            WHERE s.uri = ANY (%s) ORDER BY s.uri, c.id
            """,
            [list(map(str, self.good))],
        ).fetchall()

    def items(self, rng: random.Random | None, bad: int) -> Path:
        """A STAC file of the good scenes, with hostile items between."""
        items = [self._item(path, path.stem + path.suffix) for path in self.good]
        for number in range(bad):
            target = rng.choice([*self.bad.iterdir(), "/dev/zero", "/vsistdin/"])
            item = self._item(target, f"bad-{number}")
            items.insert(rng.randrange(len(items)), mutated(rng, mutated(rng, item)))
        path = self.root / "items.json"
        path.write_text(dumped({"type": "FeatureCollection", "features": items}))
        return path

    @staticmethod
    def _item(href: object, name: str) -> dict:
        box = [[[9, 47], [9.1, 47], [9.1, 47.1], [9, 47.1], [9, 47]]]
        return {
            "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "c",
            "geometry": {"type": "Polygon", "coordinates": box}, "bbox": [9, 47, 9.1, 47.1],
            "properties": {"datetime": "2021-07-14T10:00:00Z", "gsd": 1, "proj:code": "EPSG:4326",
                "proj:bbox": [9, 47, 9.1, 47.1]},
            "assets": {"image": {"href": os.fsdecode(href), "type": "image/tiff", "roles": ["data"]}},
            "links": [],
        }  # fmt: skip

    def sidecar(self, rng: random.Random | None) -> Path:
        """A sidecar of the good pictures, with hostile features for all others."""
        names = [path.name for path in self.good if path.suffix == ".png"]
        features = [self._item("", "") | {"properties": {"file": name}} for name in names]
        for bad in self.bad.iterdir() if rng else ():
            feature = self._item("", "") | {"properties": {"file": f"bad/{bad.name}", "x": 1}}
            features.append(mutated(rng, mutated(rng, feature)))
        path = self.root / "side.geojson"
        path.write_text(dumped({"type": "FeatureCollection", "features": features}))
        return path


@cache
def place() -> Place:
    return Place()


@cache
def clean(way: str) -> list[tuple]:
    """The rows of the good scenes without any others."""
    done, rows = place().ingest(*_sources(way, None))
    assert done.returncode == 0 and rows, done.stderr
    return rows


def _sources(way: str, rng: random.Random | None) -> tuple:
    here = place()
    if way == "STAC":
        return ("--stac", here.items(rng, BAD_FILES if rng else 0))
    if way == "sidecar":
        return (here.folder, "--sidecar", here.sidecar(rng))
    return (here.folder,)


def once(attack: Attack, rng: random.Random) -> None:
    here, way = place(), rng.choice(("folder", "folder", "STAC", "sidecar"))
    shutil.rmtree(here.bad)
    here.bad.mkdir()
    expected = clean(way)
    kinds = here.maker.kinds()
    for number in range(BAD_FILES):
        kind = rng.choice(list(kinds))
        kinds[kind](rng, here.bad / f"f{number}")
        attack.tried(kind)
    sources = _sources(way, rng)
    attack.tried(f"{way} ingested")
    ASKED.clear()
    os.utime(here.canary, (1, 2))  # older than its change, so that a read moves it
    try:
        done, rows = here.ingest(*sources)
    except subprocess.TimeoutExpired:
        attack.fault(f"{way} ingested", f"not done after {SECONDS} s")
        return
    said = done.stderr[-300:]
    if done.returncode not in (0, 5) or "Traceback" in done.stderr or "bug" in said:
        attack.fault(f"{way} ingested", f"exit code {done.returncode}: {said}")
    if rows != expected:
        attack.fault(
            f"{way} ingested", f"{len(rows)} rows of good scenes, not {len(expected)}: {said}"
        )
    if done.stdout.startswith("{"):
        report = json.loads(done.stdout)
        attack.tried("bad files recorded as failed", report["failed"])
        attack.tried("files stored, good ones too", report["stored"])
        if report["scenes"] != report["stored"] + report["known"] + report["failed"]:
            attack.fault(f"{way} ingested", f"scenes are missing: {report['scenes']}")
    if ASKED:
        attack.fault(f"{way} ingested", f"a server was asked for {ASKED[0]}")
    if os.stat(here.canary).st_atime != 1:
        attack.fault(f"{way} ingested", "a file outside of the folder was read")
    if (here.root / "ran").exists():
        (here.root / "ran").unlink()
        attack.fault(f"{way} ingested", "Ghostscript was run")


if __name__ == "__main__":
    run(__doc__, once)

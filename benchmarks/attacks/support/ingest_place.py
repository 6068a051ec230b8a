"""The server, models and files of ``ingest.py``, and the rows of clean runs."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
from psycopg.conninfo import make_conninfo

from dcsh_pg.database.server import migrate
from support.hostile_onnx import base_model
from support.index_server import OwnServer
from support.interrupted_ingest import Ingest

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
    """A server, two models, the contents of files, and the rows of clean runs."""

    def __init__(self, folder: Path):
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
        execute(self.admin, "CREATE DATABASE ingest_template")
        migrate.upgrade(make_conninfo(self.admin, dbname="ingest_template"))
        self._clean: dict[tuple, tuple] = {}
        self._databases: list[str] = []
        self.seconds = 1.0

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """A database without archives, reused unless something goes wrong."""
        if not self._databases:
            self._databases.append(f"ingest_{uuid.uuid4().hex[:12]}")
            execute(self.admin, f"CREATE DATABASE {self._databases[-1]} TEMPLATE ingest_template")
        name = self._databases.pop()
        dsn = make_conninfo(self.admin, dbname=name)
        yield dsn
        execute(dsn, "SELECT dcsh.drop_archive(name) FROM dcsh.archive")
        self._databases.append(name)

    def recover(self) -> None:
        """Restarts the server if it was killed."""
        self.server.server.start()
        with psycopg.connect(self.admin):
            pass

    def fill(self, folder: Path, files: dict[str, int]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in files.items():
            shutil.copy(self.contents[content], folder / name)

    def clean(self, folder: Path, files: dict[str, int], model: int = 0) -> tuple[list, list]:
        """Rows and state after one clean run on ``folder``, which contains ``files``."""
        key = (folder.name, model, *files.items())
        if key not in self._clean:
            with self.database() as dsn:
                began = time.monotonic()
                Ingest(self, dsn, folder, model=model).end()
                self.seconds = time.monotonic() - began
                self._clean[key] = execute(dsn, ROWS), execute(dsn, STATE)
        return self._clean[key]


def write_raster(file: Path, seed: int) -> None:
    """Writes a raster whose chips differ in colour, because the model compares means."""
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

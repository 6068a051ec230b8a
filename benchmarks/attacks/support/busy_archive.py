"""An archive of synthetic chips on a server of its own, and writers that change it."""

from __future__ import annotations

import atexit
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path

import numpy as np
import psycopg
import shapely

from dcsh_pg.card import ModelCard
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.errors import NotFound

SCENES = 40
CHIPS = 40
DAY = datetime(2021, 1, 1, tzinfo=timezone.utc)
DAYS = 20


@cache
def server() -> str:
    """The DSN of a temporary server with the schema and the index."""
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
        migrate.ensure(conn)
    return made.conninfo()


@dataclass
class SceneRecord:
    """The fields of a scene that a Loader stores."""

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
        """Adds a scene, which replaces the one of that number."""
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
    """The concurrent changes of the archive: name -> one step."""
    name = archive.name

    def load(conn, rng):
        loader = Loader(conn, archive.record)
        for number in rng.sample(range(SCENES), rng.randrange(1, 4)):
            archive.add(loader, np.random.default_rng(rng.getrandbits(32)), number)
        loader.flush()

    def remove(conn, rng):
        time.sleep(rng.random())  # about as long as a load, so that the archive keeps its size
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
        # ANALYZE would wait for REINDEX CONCURRENTLY with a snapshot, which that waits for.
        option = rng.choice(("", "(ANALYZE, SKIP_LOCKED)", "(INDEX_CLEANUP ON)", "(FREEZE)"))
        conn.execute(f"VACUUM {option} dcsh.{name}")

    return {
        "load and replace": load,
        "remove": remove,
        "rebuild the index": index,
        "vacuum": vacuum,
    }

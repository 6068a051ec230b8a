"""The archive that ``distributed.py`` attacks, and the operations on it."""

from __future__ import annotations

import hashlib
import multiprocessing
import time

import numpy as np
import shapely

from dcsh_pg.card import ModelCard
from dcsh_pg.database.archives import distributed, registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connect import connect
from support.citus_nodes import Nodes

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

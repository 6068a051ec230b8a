"""Calls of the library that read and that write an archive, for ``rights.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import shapely

sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))
from synthetic import Scene, add, new_archive

from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search import near_duplicates, statistics
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import hits
from dcsh_pg.database.search.query import CodeQuery
from dcsh_pg.database.server import rights

CODES = np.random.default_rng(0).integers(0, 256, (24, 8), dtype=np.uint8)


def load(conn, name: str, uri: str) -> None:
    loader = Loader(conn, registry.get_archive(conn, name))
    boxes = [shapely.box(n % 5, n // 5, n % 5 + 1, n // 5 + 1) for n in range(len(CODES))]
    add(loader, Scene(uri, properties={"label": uri}), CODES, boxes)
    loader.flush()
    loader.record_error("broken.tif", "cannot be read", None)


def read_all(call):
    """The ids that a reading call returns, for each archive."""
    return lambda conn, name: {row.id for row in call(conn, name)}


CODE = CODES[3].tobytes()
AREA = shapely.box(0, 0, 9, 9)
READS = {
    "similar": read_all(lambda c, n: hits(c, n, CodeQuery(CODE), k=100)),
    "similar in an area": read_all(
        lambda c, n: hits(c, n, CodeQuery(CODE), Filter(area=AREA), 100)
    ),
    "within": read_all(lambda c, n: hits(c, n, CodeQuery(CODE), Filter(max_distance=64), None)),
    "near_duplicates": lambda c, n: {
        one.chip.id for one in near_duplicates.near_duplicates(c, n, 63)
    },
    "layer": lambda c, n: {r[0] for r in c.execute(f"SELECT id FROM dcsh.{n}_layer")},
    "chips": lambda c, n: {r[0] for r in c.execute("SELECT id FROM dcsh_private.chips(%s)", [n])},
    "table": lambda c, n: {r[0] for r in c.execute(f"SELECT id FROM dcsh.{n}")},
}
COUNTS = {
    "code_statistics": lambda c, n: statistics.code_statistics(c, n).chips,
    "coverage": lambda c, n: sum(cell.chips for cell in statistics.coverage(c, n, cell=90.0)),
    "frequent_codes": lambda c, n: sum(
        code.chips for code in statistics.frequent_codes(c, n, most=1000)
    ),
}
WRITES = {
    "load": lambda c, n: load(c, n, "new.tif"),
    "remove_scene": lambda c, n: registry.remove_scene(c, n, "a.tif"),
    "create_code_index": lambda c, n: registry.create_code_index(c, n),
    "drop_code_index": lambda c, n: registry.drop_code_index(c, n),
    "create_archive": lambda c, n: new_archive(c, n + "_more"),
    "drop_archive": lambda c, n: registry.drop_archive(c, n),
    "grant": lambda c, n: rights.grant(c, "pg_monitor", write=True),
    "lock": lambda c, n: c.execute("LOCK TABLE dcsh_private.load_lock IN EXCLUSIVE MODE"),
    "create_pgstac_view": lambda c, n: c.execute("SELECT dcsh.create_pgstac_view(%s)", [n]),
}

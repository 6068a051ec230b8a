"""Archives of synthetic codes on a regular grid of footprints, for search benchmarks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import psycopg
import shapely
from psycopg import sql

from dcsh_pg.card import ModelCard
from dcsh_pg.database.archives import distributed, registry
from dcsh_pg.database.archives.load import Loader

SCENE_CHIPS = 10_000
FIRST_DAY = datetime(2024, 1, 1, tzinfo=timezone.utc)


@dataclass
class SyntheticScene:
    uri: str
    content_hash: str
    acquired: datetime
    collection: None = None
    item_id: None = None
    proj_code: str = "EPSG:4326"
    properties: dict[str, Any] = field(default_factory=dict)


def clustered_codes(rng: np.random.Generator, count: int, bits: int) -> np.ndarray:
    """Packed codes uint8 (count, bits/8): 1000 centres, each bit flipped with probability 0.1."""
    centres = rng.integers(0, 2, (1000, bits), dtype=np.uint8)
    codes = np.empty((count, bits // 8), np.uint8)
    for part in np.array_split(codes, max(1, count // 100_000)):
        chosen = centres[rng.integers(0, len(centres), len(part))]
        flipped = rng.random((len(part), bits), dtype=np.float32) < 0.1
        part[:] = np.packbits(chosen ^ flipped, axis=1)
    return codes


def uniform_codes(rng: np.random.Generator, count: int, bits: int) -> np.ndarray:
    """Packed codes uint8 (count, bits/8), uniformly distributed."""
    return rng.integers(0, 256, (count, bits // 8), dtype=np.uint8)


def archive_codes(conn: psycopg.Connection, name: str) -> np.ndarray:
    """Packed codes uint8 (N, bits/8) of an archive, by chip id.

    Raises:
        NotFound: no archive has that name.
    """
    archive = registry.get_archive(conn, name)
    query = sql.SQL("SELECT substr(bit_send(code), 5) FROM dcsh.{} ORDER BY id")
    with conn.cursor(binary=True) as cursor:
        cursor.execute(query.format(sql.Identifier(archive.name)))
        packed = b"".join(code for (code,) in cursor)
    return np.frombuffer(packed, np.uint8).reshape(-1, archive.bits // 8)


def grid_side(rows: int) -> int:
    """Squares per side of a grid with a footprint for each row."""
    return int(np.ceil(np.sqrt(rows)))


def grid_footprints(first: int, count: int, side: int) -> np.ndarray:
    """Unit squares of a square grid over one degree times one degree, ``side`` squares a side."""
    index = np.arange(first, first + count)
    x, y = index % side / side, index // side / side
    return shapely.box(x, y, x + 1 / side, y + 1 / side)


def day(number: int) -> datetime:
    """Acquisition time of scene ``number``: one scene per day."""
    return FIRST_DAY + timedelta(days=number)


def load(
    conn: psycopg.Connection,
    name: str,
    codes: np.ndarray,
    scene_chips: int = SCENE_CHIPS,
    *,
    shards: int | None = None,
) -> float:
    """Loads the codes into a new archive, in scenes of ``scene_chips``, without an index on codes,
    with ``shards`` distributed by Citus before it is filled; returns the seconds that Loader and
    VACUUM ANALYZE took."""
    bits = 8 * codes.shape[1]
    card = ModelCard(
        name="synthetic", method="itq", bits=bits, bands=3, chip_size=64, input_size=64,
        mean=(0.5,) * 3, std=(0.25,) * 3, encoder="none",
    )  # fmt: skip
    model = registry.store_model(conn, card, f"synthetic codes of {bits} bits".encode())
    archive = registry.create_archive(conn, name, model, {})
    if shards is not None:
        distributed.distribute(conn, name, shards=shards)
    loader = Loader(conn, archive)
    side = grid_side(len(codes))
    seconds = 0.0
    for number, first in enumerate(range(0, len(codes), scene_chips)):
        part = codes[first : first + scene_chips]
        windows = np.full((len(part), 4), 64, np.int32)
        footprints = grid_footprints(first, len(part), side)
        began = time.perf_counter()
        loader.add(
            SyntheticScene(f"synthetic/{first}", f"{first:064x}", day(number)),
            part, windows, footprints, np.ones(len(part), np.float32), 0,
        )  # fmt: skip
        if loader.waiting >= 100_000:
            loader.flush()
        seconds += time.perf_counter() - began
    began = time.perf_counter()
    loader.flush()
    conn.execute(f"VACUUM ANALYZE dcsh.{name}")
    return seconds + time.perf_counter() - began

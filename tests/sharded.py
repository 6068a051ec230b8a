"""The same synthetic scenes as archive 'one', on one server, and 'many', on three."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import psycopg
import pytest
import shapely
from synthetic import Scene, add, new_archive, rows

from dcsh_pg.database import registry, shards
from dcsh_pg.database.load import Loader

BITS = 32
SCENES = 24


def day(n: int) -> datetime:
    return datetime(2021, 1, 1 + n, tzinfo=timezone.utc)


both_layers = pytest.mark.parametrize("layer", ["core", "postgis"], indirect=True)


def scene(archive: str, n: int, version: str = "") -> Scene:
    return Scene(f"{archive}/{n}.tif", content_hash=f"{n}{version}", acquired=day(n % 7))


def load(conn, archive: str, scenes=range(SCENES), *, version: str = "", seed: int = 0) -> None:
    """Loads scenes of 0 to 9 chips with few different codes, so that many distances are equal."""
    loader = Loader(conn, registry.get_archive(conn, archive))
    for n in scenes:
        random = np.random.default_rng([seed, n])
        codes = random.choice(
            np.array([0, 1, 3, 128], np.uint8), (random.integers(0, 10), BITS // 8)
        )
        x = n % 12
        feet = [shapely.box(x, i, x + 1, i + 1.5) for i in range(len(codes))]
        add(loader, scene(archive, n, version), codes, feet if n % 5 else None)
        if n % 10 == 9:
            loader.flush()
    loader.flush()
    loader.finish()


def both(conn, places, **how) -> None:
    """The same scenes as archive 'one', on one server, and 'many', on three."""
    for archive in ("one", "many"):
        new_archive(conn, archive, BITS)
        load(conn, archive)
    shards.shard(conn, "many", places, **how)


def same(conn) -> list[tuple]:
    """All rows of archive 'one', after looking that 'many' has the same, but for the ids of scenes."""
    one, many = (
        [(row[0], *row[2:], row[-5].rpartition("/")[2]) for row in rows(conn, archive)]
        for archive in ("one", "many")
    )
    without_uri = [[row[:-6] + row[-5:] for row in table] for table in (one, many)]
    assert without_uri[0] == without_uri[1]
    assert len(one) >= SCENES // 2
    return one


def told(hits) -> list[tuple]:
    return [(h.id, h.distance, h.window, h.footprint, h.acquired, h.valid_fraction) for h in hits]


def chips_at(places, archive: str) -> list[int]:
    counts = []
    for place in places:
        with psycopg.connect(place) as there:
            counts.append(there.execute(f"SELECT count(*) FROM dcsh.{archive}").fetchone()[0])
    return counts

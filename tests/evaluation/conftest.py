"""Labelled archives in a database."""

from __future__ import annotations

import numpy as np
import pytest

from dcsh_pg.card import ModelCard
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connection import open_connection
from dcsh_pg.imagery.scene import SceneRecord

BITS = 16
CARD = ModelCard(
    name="test",
    method="itq",
    bits=BITS,
    bands=3,
    chip_size=32,
    input_size=32,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    encoder="none",
)


@pytest.fixture
def connection(database):
    with open_connection(database) as conn:
        yield conn


def load(conn, name, codes, labels, model=b"no model"):
    """Makes an archive of one chip a scene; a label None leaves the scene without one."""
    sha256 = registry.store_model(conn, CARD, model)
    loader = Loader(conn, registry.create_archive(conn, name, sha256, {}))
    for number, (code, label) in enumerate(zip(codes, labels, strict=True)):
        record = SceneRecord(
            uri=f"/scenes/{name}/{number}.png",
            content_hash=f"{number:064x}",
            width=32,
            height=32,
            windows=np.array([[0, 0, 32, 32]], np.int32),
            properties={} if label is None else {"class": label},
        )
        loader.add(record, code[None], record.windows, None, np.ones(1, np.float32), 0)
    loader.flush()


@pytest.fixture
def archives(connection):
    """Archives 'land' (120 chips, one of them without class) and 'queries' (12): codes, labels."""
    random = np.random.default_rng(0)

    def draw(count):
        labels = [f"class {number % 4}" for number in range(count)]
        bits = np.array([patterns[number % 4] for number in range(count)])
        return np.packbits(bits ^ (random.random(bits.shape) < 0.2), axis=1), labels

    patterns = random.random((4, BITS)) < 0.5
    land, queries = draw(120), draw(12)
    load(connection, "land", land[0], [*land[1][:-1], None])
    load(connection, "queries", *queries)
    load(connection, "other", *queries, model=b"another model")
    return land, queries

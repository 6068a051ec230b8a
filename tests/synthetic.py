"""Small archives of synthetic codes, for tests of the database."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import psycopg
import shapely

from dcsh_pg.card import ModelCard
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader


@dataclass
class Scene:
    uri: str
    content_hash: str = ""
    acquired: datetime | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    collection: str | None = None
    item_id: str | None = None
    proj_code: str | None = "EPSG:4326"

    def __post_init__(self):
        self.content_hash = self.content_hash or hashlib.sha256(self.uri.encode()).hexdigest()


def card(bits: int = 64) -> ModelCard:
    return ModelCard(
        name="synthetic", method="itq", bits=bits, bands=3, chip_size=64, input_size=64,
        mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), encoder="none",
    )  # fmt: skip


def new_archive(conn: psycopg.Connection, name: str, bits: int = 64) -> registry.ArchiveRecord:
    model = registry.store_model(conn, card(bits), f"model of {bits} bits".encode())
    return registry.create_archive(conn, name, model, {"chip_size": 64})


def add(
    loader: Loader,
    scene: Scene,
    codes: np.ndarray,
    footprints: Sequence[shapely.Polygon] | None = None,
    skipped: int = 0,
) -> None:
    """Adds a scene whose chips stand in one row of windows."""
    count = len(codes)
    windows = np.array([[64 * i, 0, 64, 64] for i in range(count)], np.int32).reshape(-1, 4)
    loader.add(scene, codes, windows, footprints, np.ones(count, np.float32), skipped)


def rows(conn: psycopg.Connection, name: str) -> list[tuple]:
    """All that an archive holds, with its scenes, but for the time of ingestion."""
    return conn.execute(
        f"""
        SELECT c.*, c.geom::text, s.uri, s.content_hash, s.chips, s.skipped, s.properties
        FROM dcsh.{name} c RIGHT JOIN dcsh.scene s ON s.id = c.scene_id
        WHERE s.archive_id = (SELECT id FROM dcsh.archive WHERE name = %s)
        ORDER BY s.id, c.id
        """,
        [name],
    ).fetchall()

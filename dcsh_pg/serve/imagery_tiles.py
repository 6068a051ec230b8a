"""Raster tiles of an archive's scenes, in Web Mercator."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import psycopg
from shapely.geometry import box

from dcsh_pg.archive import Archive
from dcsh_pg.archive.display import displayed
from dcsh_pg.database.search.chips import chips
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.errors import InputError
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.metadata.origin import Origin
from dcsh_pg.imagery.pixels.open import open_scene
from dcsh_pg.imagery.pixels.raster import RasterScene
from dcsh_pg.imagery.pixels.stack import StackScene
from dcsh_pg.pixel_types import blank
from dcsh_pg.results.record import scene_name
from dcsh_pg.serve.footprint_tiles import lonlat_bounds, mercator_bounds

SIZE = 256
"""Pixels of a tile."""

MOST_SCENES = 8
"""Scenes that are laid over each other in a tile, the newest above."""

MOST_CHIPS = 4000
"""Chips of a tile by which its scenes are found."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlacedScene:
    """A scene that has chips in a tile."""

    uri: str
    acquired: datetime | None


def scenes_in_tile(
    conn: psycopg.Connection, archive_name: str, z: int, x: int, y: int, filter: Filter
) -> list[PlacedScene]:
    """The scenes of an archive in a tile, the newest first, at most ``MOST_SCENES``.

    Raises:
        UsageError: there is no such tile, or the filter cannot be applied.
    """
    area = box(*lonlat_bounds(mercator_bounds(z, x, y)))
    columns, _ = chips(conn, archive_name, replace(filter, area=area), limit=MOST_CHIPS)
    found = dict(zip(columns["uri"], columns["acquired"], strict=True))
    dated = sorted(found.items(), key=lambda item: (item[1] is not None, item[1], item[0]))
    return [PlacedScene(uri, acquired) for uri, acquired in reversed(dated)][:MOST_SCENES]


def imagery_tile(
    archive: Archive, scenes: Sequence[PlacedScene], z: int, x: int, y: int
) -> tuple[np.ndarray, np.ndarray]:
    """The scenes in a tile, laid over each other: uint8 (SIZE, SIZE, C), valid bool (SIZE, SIZE).

    A scene that cannot be read, or is a picture without a position of its own, is left out.
    """
    bounds, card = mercator_bounds(z, x, y), archive.record.card
    pixels = displayed(blank((SIZE, SIZE, card.bands), archive.reading.dtype), card)
    valid = np.zeros((SIZE, SIZE), bool)
    for placed in scenes:
        if valid.all():
            break
        options = SceneOptions(georeference=False, any_driver=archive.options.any_driver)
        with open_scene(
            placed.uri,
            archive.reading,
            bands=card.bands,
            origin=Origin(scene_name(placed.uri), options=options),
        ) as scene:
            if not isinstance(scene, RasterScene | StackScene):
                continue
            try:
                below, is_valid = scene.read_mercator(bounds, SIZE)
            except InputError as error:
                log.warning("%s", error.message)
                continue
        added = is_valid & ~valid
        pixels[added] = displayed(below, card)[added]
        valid |= is_valid
    return pixels, valid

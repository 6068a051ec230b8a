"""A scene on its way through the pipeline."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from shapely import Polygon

from dcsh_pg.database.archives.load import Loader
from dcsh_pg.imagery.scene import Chips, Scene, SceneRecord


@dataclass(frozen=True)
class Read:
    """Chips that a thread reads: their number and bytes of pixels."""

    count: int
    size: int
    chips: Future[Chips]


class Stream(Protocol):
    """Chips that are read and hashed while they are stored."""

    def store(self, loader: Loader, record: SceneRecord) -> tuple[int, int]:
        """Stores the scene; returns its chips, and its windows without one.

        Raises:
            Exception: the scene cannot be read or stored.
            ServerError, NotFound: nothing can be stored.
        """


@dataclass
class HashedScene:
    """A scene in the pipeline, and its result.

    Attributes:
        scene: the scene.
        record: its description, None if that failed.
        codes: packed codes, uint8 arrays (n, K/8), in the order of the windows.
        windows: int32 arrays (n, 4), of the hashed chips.
        footprints: polygons of those chips, or None if the scene is not georeferenced.
        valid_fractions: float32 arrays (n,).
        error: why it failed, or None.
        stream: stores a scene whose chips are hashed meanwhile, instead of codes and windows.
        is_known: it was not read, because its content is already stored.
    """

    scene: Scene
    record: SceneRecord | None = None
    error: Exception | None = None
    is_known: bool = False
    stream: Stream | None = None
    codes: list[np.ndarray] = field(default_factory=list)
    windows: list[np.ndarray] = field(default_factory=list)
    footprints: list[Polygon] | None = None
    valid_fractions: list[np.ndarray] = field(default_factory=list)
    reads: deque[Read] = field(default_factory=deque, repr=False)
    unhashed: int = 0

    def take(self, chips: Chips) -> None:
        """Keeps what becomes rows, without the pixels."""
        self.windows.append(chips.windows)
        self.valid_fractions.append(chips.valid_fraction)
        if chips.footprints is not None:
            self.footprints = self.footprints or []
            self.footprints.extend(chips.footprints)
        self.unhashed += len(chips)

    @property
    def is_complete(self) -> bool:
        return not self.reads and not self.unhashed

"""Scenes, and the chips that are cut from them.

A *scene* is one source image.  A *chip* is a window of it that gets one code.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime
from itertools import compress
from typing import Any

import numpy as np
from shapely.geometry import Polygon

from dcsh_pg import strict_json
from dcsh_pg.errors import DcshError, InputError
from dcsh_pg.imagery.address import shortened
from dcsh_pg.imagery.grid import Windows
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.reduce import reduced_shape
from dcsh_pg.pixel_types import UINT8, blank


@dataclass(frozen=True, eq=False)
class SceneRecord:
    """The description of a scene, from its header.

    Attributes:
        uri: absolute path, URL or GDAL name.
        content_hash: identity of the scene, 64 hexadecimal characters; docs/imagery.md, "Identity".
        width, height: in pixels.
        windows: N windows, each col_off, row_off, width, height; indexed like int32 (N, 4).
        acquired: acquisition time, UTC, or None.
        proj_code: authority and code of the raster's own CRS, 'EPSG:26913', or None.
        resolution: metres per pixel at the centre of the scene, or None.
        bands: which of the raster's bands are the model's channels, counted from 1, or empty for a
            plain picture.
        collection, item_id: of the STAC item that the scene came from, or None.
        properties: everything else that is stored, as JSON.
    """

    uri: str
    content_hash: str
    width: int
    height: int
    windows: Windows
    acquired: datetime | None = None
    proj_code: str | None = None
    resolution: float | None = None
    bands: tuple[int, ...] = ()
    collection: str | None = None
    item_id: str | None = None
    properties: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses what the database cannot store, so that only this scene fails.

        Raises:
            InputError: a text with NUL or a lone surrogate, a number for a text, or a property that JSON cannot carry.
        """
        try:
            texts = (self.uri, self.proj_code, self.collection, self.item_id)
            strict_json.check([*texts, self.properties])
            for text in texts:
                if not isinstance(text, str | None):  # of a STAC item
                    raise ValueError(f"{text!r} where text belongs")
        except ValueError as error:
            raise InputError(f"{self.uri}: its properties contain {error}") from None


@dataclass(frozen=True, eq=False)
class Chips:
    """Chips of one scene, all of one size.

    Attributes:
        pixels: (N, H, W, C) of the reading's ``dtype``; invalid pixels are 0 of uint8, NaN of float32
            and :data:`dcsh_pg.pixel_types.NODATA` of others.
        windows: int32 (N, 4), as in :class:`SceneRecord`.
        footprints: N polygons in EPSG:4326, (lon, lat), exterior counter-clockwise, or None if
            the scene is not georeferenced.
        valid_fraction: float32 (N,), fraction of the window's pixels that are valid; padding is not.
    """

    pixels: np.ndarray
    windows: np.ndarray
    footprints: list[Polygon] | None
    valid_fraction: np.ndarray

    def __len__(self) -> int:
        return len(self.windows)

    def select(self, chosen: np.ndarray) -> Chips:
        """The chips where ``chosen``, bool (N,), is true; nothing is copied if all are."""
        if chosen.all():
            return self
        footprints = self.footprints and list(compress(self.footprints, chosen))
        return Chips(
            self.pixels[chosen], self.windows[chosen], footprints, self.valid_fraction[chosen]
        )


class Scene(ABC):
    """One source image, bound to the reading of its archive.  Creating one opens nothing.

    A scene can be pickled for another process or machine; its open files stay behind.

    Attributes:
        uri: absolute path, URL or GDAL name.
        reading: how it is cut and its pixels read.
        channels: bands of its pixels, as many as the model takes.
    """

    def __init__(self, uri: str, reading: Reading, channels: int = 0):
        self.uri, self.reading, self.channels = uri, reading, channels

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel of all bands; of uint8 always 3, so that large windows are reduced alike."""
        kind = self.reading.dtype
        return 3 if kind == UINT8 else self.channels * np.dtype(kind).itemsize

    def shape(self, window: np.ndarray) -> tuple[int, int, int]:
        """Rows, columns and bands of the pixels of a window: a large one is reduced."""
        _, _, width, height = window.tolist()
        return *reduced_shape(width, height, self.pixel_bytes), self.channels

    def chip_bytes(self, window: np.ndarray) -> int:
        """Bytes of the pixels of a chip's window."""
        side = self.reading.chip_size
        shape = (
            (side, side, self.channels)
            if side and self.reading.is_resampled
            else self.shape(window)
        )
        return math.prod(shape) * np.dtype(self.reading.dtype).itemsize

    def _blank(self, windows: np.ndarray) -> np.ndarray:
        """Invalid pixels for windows int32 (N, 4) of one size."""
        shape = self.shape(windows[0]) if len(windows) else (0, 0, self.channels)
        return blank((len(windows), *shape), self.reading.dtype)

    @abstractmethod
    def describe(self) -> SceneRecord:
        """Reads the header and hashes the content.

        Raises:
            InputError: the file cannot be read, has other bands than the model, or is not
                georeferenced.
        """

    @abstractmethod
    def read(self, windows: np.ndarray) -> Chips:
        """Reads chips.  May be called from several threads at once.

        Args:
            windows: int (N, 4), some rows of ``describe().windows``.

        Raises:
            InputError: the pixels cannot be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes open files.  No ``read`` may be running; a later one opens them again."""

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"


class UnreadableScene(Scene):
    """A scene that is known to be unreadable before it is opened: ``describe`` raises its error."""

    def __init__(self, uri: str, reading: Reading, error: DcshError):
        super().__init__(shortened(uri), reading)
        self._error = error

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_error": self._error.alone()}

    def describe(self) -> SceneRecord:
        raise self._error

    def read(self, windows: np.ndarray) -> Chips:
        raise self._error

    def close(self) -> None:
        pass

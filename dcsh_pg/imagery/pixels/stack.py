"""Scenes whose pixels are made from those of files: of several files, masked by a band, or resampled.

Each pixel is the mean of the valid ground that it covers, see :mod:`dcsh_pg.imagery.resample`.  Windows and
footprints are in pixels of the finest file, so they stay exact whatever the resolution of the chips.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS

from dcsh_pg.errors import InputError
from dcsh_pg.imagery import grid
from dcsh_pg.imagery.georeference.affine import AffineGeoreference
from dcsh_pg.imagery.georeference.placed import Placed
from dcsh_pg.imagery.metadata.origin import Origin
from dcsh_pg.imagery.parts import is_parts, parse_parts
from dcsh_pg.imagery.pixels.picture import PictureScene
from dcsh_pg.imagery.pixels.raster import RasterScene
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.reduce import reduced_shape
from dcsh_pg.imagery.resample import as_pixels, factor_of, resample, shape_of
from dcsh_pg.imagery.scene import Chips, Scene, SceneRecord
from dcsh_pg.pixel_types import blank

CLEAR = 0.5
"""Least share of a pixel's ground that the mask leaves, of a valid pixel."""

_PLAIN: dict[str, Any] = {"mask": None, "resolution": None, "multiscale": (), "anchor": False}
"""Of the reading of the parts."""


@dataclass(frozen=True)
class _Layout:
    """What is needed to read pixels, computed once for a scene.

    Attributes:
        placed: the finest file.
        factor: pixels of it, a side, that a pixel of a chip covers.
        maps: of each file, scale and offset from pixels of the finest to its own, of columns and rows.
    """

    placed: Placed
    factor: float
    maps: list[tuple[tuple[float, float], tuple[float, float]]]


class StackScene(Scene):
    """A scene of several files, or one that is masked or resampled.

    Arguments as of :func:`dcsh_pg.imagery.pixels.open.open_scene`.

    Args:
        is_picture: the file is a plain picture.
    """

    def __init__(
        self,
        uri: str,
        reading: Reading,
        *,
        channels: int,
        origin: Origin,
        is_picture: bool = False,
    ):
        super().__init__(uri, reading, channels)
        self._origin = origin
        plain = replace(reading, **_PLAIN)
        self._parts: list[RasterScene | PictureScene]
        if is_parts(uri):
            self._parts = self._files(plain)
        elif is_picture:
            self._parts = [PictureScene(Path(uri), plain, channels=channels, origin=origin)]
        else:
            self._parts = [RasterScene(uri, plain, channels=channels, origin=origin)]
        self._mask: RasterScene | None = None
        if reading.mask is not None:
            last = parse_parts(uri)[-1] if is_parts(uri) else None
            as_stored = replace(
                plain,
                bands=(last.band if last else reading.mask.band,),
                dtype="float32",
                scale=None,
                raw_values=True,
                nodata=None,
            )
            file = last.uri if last else uri
            self._mask = RasterScene(file, as_stored, channels=1, origin=origin)
        self._lock = threading.Lock()
        self._layout: _Layout | None = None

    def _files(self, plain: Reading) -> list[RasterScene | PictureScene]:
        """One part for each file, or for each run of bands of it."""
        parts = parse_parts(self.uri)
        if self.reading.mask is not None:
            parts = parts[:-1]
        return [
            RasterScene(
                uri,
                replace(plain, bands=tuple(part.band for part in run)),
                channels=len(run),
                origin=self._origin,
                offset=offset,
            )
            for (uri, offset), group in groupby(parts, lambda part: (part.uri, part.offset))
            for run in [list(group)]
        ]

    def __getstate__(self) -> dict[str, Any]:
        """Pickled without what was computed from open files."""
        return {key: value for key, value in vars(self).items() if key not in ("_lock", "_layout")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), _layout=None)

    @property
    def _all(self) -> list[RasterScene | PictureScene]:
        return self._parts + ([self._mask] if self._mask else [])

    def describe(self) -> SceneRecord:
        layout = self._lay_out()
        records = [part.describe() for part in self._all]
        placed, first = layout.placed, records[0]
        anchor = (0.0, 0.0)
        if self.reading.anchor and isinstance(placed.georeference, AffineGeoreference):
            anchor = placed.georeference.origin
        return replace(
            first,
            uri=self.uri,
            content_hash=self._identity(records),
            width=placed.width,
            height=placed.height,
            windows=grid.windows(
                placed.width,
                placed.height,
                self.reading,
                anchor,
                factor=layout.factor,
                uri=self.uri,
            ),
            proj_code=placed.georeference.proj_code if placed.georeference else None,
            resolution=placed.resolution,
            bands=() if len(self._parts) > 1 else first.bands,
            properties=self._properties(records),
        )

    def shape(self, window: np.ndarray) -> tuple[int, int, int]:
        _, _, width, height = window.tolist()
        rows, columns = shape_of(self.reading, self._lay_out().factor, width, height)
        return *reduced_shape(columns, rows, self.pixel_bytes), self.channels

    def read(self, windows: np.ndarray) -> Chips:
        windows = np.asarray(windows, dtype=np.int32).reshape(-1, 4)
        layout = self._lay_out()
        pixels = self._blank(windows)
        share = np.zeros(pixels.shape[:3], np.float32)
        done = 0
        for part, maps in zip(self._parts, layout.maps, strict=False):
            bands = slice(done, done + part.channels)
            with part.raster() as raster:
                raster = replace(raster, columns=maps[0], rows=maps[1])
                for index, window in enumerate(windows.tolist()):
                    values, valid = resample(raster, window, pixels.shape[1:3])
                    if values.shape[2]:
                        made, _ = as_pixels(values, valid > 0, self.reading.dtype)
                        pixels[index, ..., bands] = made
                    share[index] = valid if not done else self._joined(share[index], valid)
            done = bands.stop
        if self._mask is not None:
            self._apply_mask(self._mask, layout, windows, share)
        pixels, _ = as_pixels(pixels, share > 0, self.reading.dtype)
        georeference = layout.placed.georeference
        footprints = georeference.footprints(windows) if georeference else None
        valid_fraction = np.minimum(share, 1).mean(axis=(1, 2), dtype=np.float64)
        return Chips(pixels, windows, footprints, valid_fraction.astype(np.float32))

    def _joined(self, share: np.ndarray, of_part: np.ndarray) -> np.ndarray:
        """The valid share of pixels with the bands of one more file: where any has a value, of floats where
        all have."""
        joined: np.ndarray = (np.minimum if self.reading.dtype == "float32" else np.maximum)(
            share, of_part
        )
        return joined

    def _apply_mask(
        self, mask: RasterScene, layout: _Layout, windows: np.ndarray, share: np.ndarray
    ) -> None:
        """Lowers the valid shares (N, H, W) to what the mask leaves."""
        rule = self.reading.mask
        assert rule is not None
        columns, rows = layout.maps[-1]
        with mask.raster() as raster:

            def read_clear(*window: int) -> tuple[np.ndarray, np.ndarray]:
                values, valid = raster.read(*window)
                return values, valid & ~rule.masked(values[..., 0])

            clear = replace(raster, read=read_clear, columns=columns, rows=rows)
            for index, window in enumerate(windows.tolist()):
                _, left = resample(clear, window, share.shape[1:])
                share[index] = np.where(left >= CLEAR, np.minimum(share[index], left), 0)

    def read_mercator(
        self, bounds: tuple[float, float, float, float], size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`RasterScene.read_mercator`; nothing is masked.

        Raises:
            InputError: the pixels cannot be read, or a raster has no CRS.
        """
        pixels = blank((size, size, self.channels), self.reading.dtype)
        valid = np.zeros((size, size), bool)
        done = 0
        for part in self._parts:
            if not isinstance(part, RasterScene):
                raise InputError(f"{self.uri} has no coordinate reference system")
            found, is_valid = part.read_mercator(bounds, size)
            pixels[..., done : done + part.channels] = found
            valid, done = valid | is_valid, done + part.channels
        return pixels, valid

    def close(self) -> None:
        for part in self._all:
            part.close()

    def _lay_out(self) -> _Layout:
        with self._lock:
            if self._layout is None:
                bands = sum(part.channels for part in self._parts)
                if bands != self.channels:
                    raise InputError(
                        f"{self.uri} has {bands} bands, the model takes {self.channels}"
                    )
                placed = [part.place() for part in self._all]
                finest = max(placed[: len(self._parts)], key=lambda one: one.width * one.height)
                resolution = finest.resolution
                is_kept = resolution is None and self._origin.options.any_resolution
                factor = 1.0 if is_kept else factor_of(self.reading, resolution, uri=self.uri)
                maps = [self._map(finest, one) for one in placed]
                self._layout = _Layout(finest, factor, maps)
            return self._layout

    def _map(self, finest: Placed, part: Placed) -> tuple[tuple[float, float], tuple[float, float]]:
        """Scale and offset from the finest file's columns and rows to a part's."""
        if part is finest:
            return (1.0, 0.0), (1.0, 0.0)
        one, other = finest.georeference, part.georeference
        if not (isinstance(one, AffineGeoreference) and isinstance(other, AffineGeoreference)):
            return (part.width / finest.width, 0.0), (part.height / finest.height, 0.0)
        a, b, c, d, e, f = (~other.transform @ one.transform)[:6]
        is_parallel = (
            a > 0 and e > 0 and max(abs(b), abs(d)) * max(finest.width, finest.height) < 0.01
        )
        if not is_parallel or (one.wkt != other.wkt and CRS(one.wkt) != CRS(other.wkt)):
            raise InputError(
                f"{self.uri}: its files lie in different coordinate reference systems or directions",
                hint="warp them to one: gdalwarp -t_srs",
            )
        return (a, c), (e, f)

    def _identity(self, records: Sequence[SceneRecord]) -> str:
        """The content hash of one file is that file's."""
        if not is_parts(self.uri):
            return records[0].content_hash
        offsets = [part.offset for part in parse_parts(self.uri)]
        digest = hashlib.sha256(f"{offsets}\n".encode())
        for part, record in zip(self._all, records, strict=True):
            digest.update(f"{record.content_hash} {part.reading.bands}\n".encode())
        return digest.hexdigest()

    def _properties(self, records: Sequence[SceneRecord]) -> dict[str, Any]:
        properties = dict(records[0].properties)
        if len(self._parts) > 1:
            properties["bands"] = [str(band) for band in self.reading.bands or ()]
        if self.reading.mask is not None:
            properties["mask"] = str(self.reading.mask.band)
        return properties

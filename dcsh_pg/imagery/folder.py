"""Plain pictures: JPEG, PNG, WebP, BMP and GIF files, whose place a sidecar may tell."""

from __future__ import annotations

import dataclasses
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps

from dcsh_pg.errors import InputError
from dcsh_pg.imagery import bands as band_rules
from dcsh_pg.imagery import grid
from dcsh_pg.imagery.origin import Origin
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.record import place_of_record
from dcsh_pg.imagery.scene import Chips, Scene, SceneRecord
from dcsh_pg.imagery.side_files import is_regular, not_regular

# What Pillow warns of (odd EXIF, many pixels) is no news to the people at the command line.
warnings.filterwarnings("ignore", module=r"PIL\.")

_COLOURS = {"L": ["gray"], "LA": ["gray", "alpha"], "RGB": ["red", "green", "blue"]}
_COLOURS["RGBA"] = [*_COLOURS["RGB"], "alpha"]
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
"""What Pillow may take a picture for, whatever its suffix.  Others run programs: EPS Ghostscript."""

_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

T = TypeVar("T")


class PictureScene(Scene):
    """A plain picture, turned upright as its EXIF orientation says.

    A grey picture gives a three-band model its grey three times.  A transparent pixel is invalid.

    Args:
        path: absolute.
        reading: how it is cut and turned into uint8.
        channels: how many the model takes.
        origin: what is known besides the file.
    """

    def __init__(self, path: Path, reading: Reading, *, channels: int, origin: Origin):
        super().__init__(str(path), reading)
        self._path, self._channels, self._origin = path, channels, origin
        self._lock = threading.Lock()
        self._decoded: tuple[np.ndarray, np.ndarray] | None = None

    def __getstate__(self) -> dict:
        """Travels to other processes as what it was made of."""
        return {key: value for key, value in vars(self).items() if key not in ("_lock", "_decoded")}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, _lock=threading.Lock(), _decoded=None)

    def describe(self) -> SceneRecord:
        width, height, tags, properties = self._guard(self._header)
        record = self._origin.record
        place = None
        if record and record.tells_place:
            place = place_of_record(record, width, height, uri=self.uri)
        return SceneRecord(
            uri=self.uri,
            content_hash=self._origin.identity(self._path, tells_place=False),
            width=width,
            height=height,
            windows=grid.windows(width, height, self.reading, uri=self.uri),
            acquired=self._origin.when(tags),
            proj_code=place.proj_code if place else None,
            resolution=place.resolution(width, height) if place else None,
            collection=record.collection if record else None,
            item_id=record.item_id if record else None,
            properties=properties | self._origin.properties(),
        )

    def read(self, windows: np.ndarray) -> Chips:
        windows = np.asarray(windows, dtype=np.int32).reshape(-1, 4)
        with self._lock:
            decoded = self._decoded or self._guard(self._decode)
            if self.reading.chip_size is not None:
                self._decoded = decoded
        whole, valid = decoded
        height, width = (windows[0, 3], windows[0, 2]) if len(windows) else (0, 0)
        pixels = np.zeros((len(windows), height, width, self._channels), np.uint8)
        valid_fraction = np.zeros(len(windows), np.float32)
        for index, (left, top, w, h) in enumerate(windows.tolist()):
            inside = np.s_[top : top + h, left : left + w]
            part = whole[inside]
            pixels[index, : part.shape[0], : part.shape[1]] = part
            valid_fraction[index] = np.count_nonzero(valid[inside]) / (w * h)
        return Chips(pixels, windows, self._footprints(windows, valid.shape), valid_fraction)

    def close(self) -> None:
        with self._lock:
            self._decoded = None

    def _footprints(self, windows: np.ndarray, shape: tuple[int, int]) -> list | None:
        record = self._origin.record
        if not (record and record.tells_place):
            return None
        return place_of_record(record, shape[1], shape[0], uri=self.uri).footprints(windows)

    def _header(self) -> tuple[int, int, dict[str, str], dict[str, str]]:
        with Image.open(self._path, formats=_FORMATS) as image:
            exif = image.getexif()
            turned = exif.get(ExifTags.Base.Orientation) in _SIDEWAYS
            width, height = image.size[::-1] if turned else image.size
            return width, height, _date_tags(exif), {"driver": image.format, "mode": image.mode}

    def _decode(self) -> tuple[np.ndarray, np.ndarray]:
        """The whole picture: pixels uint8 (H, W, C) and validity bool (H, W)."""
        with Image.open(self._path, formats=_FORMATS) as image:
            image = _plain_mode(ImageOps.exif_transpose(image))
            colours = _COLOURS.get(image.mode, ["gray"])
            data = np.asarray(image)
        data = np.moveaxis(data[..., None] if data.ndim == 2 else data, -1, 0)
        valid = np.ones(data.shape[1:], bool)
        if "alpha" in colours:
            valid = data[colours.index("alpha")] > 0
        reading = self.reading
        if reading.bands is None and self._channels == 3 and colours[0] == "gray":
            reading = dataclasses.replace(reading, bands=(1, 1, 1))
        bands = band_rules.choose_bands(colours, self._channels, reading, uri=self.uri)
        data = data[[band - 1 for band in bands]]
        if data.dtype.kind == "f":
            valid = valid & np.isfinite(data).all(axis=0)
        limits = None
        if band_rules.is_stretched(data.dtype, None, self.reading):
            limits = band_rules.stretch_limits(data, valid, self.reading)
        return band_rules.to_uint8(data, valid, limits), valid

    def _guard(self, work: Callable[[], T]) -> T:
        """Runs ``work``; whatever the damage of a file leads a decoder to becomes an InputError."""
        try:
            if self._path.exists() and not is_regular(self._path):
                raise not_regular(self._path)
            return work()
        except InputError:
            raise
        except FileNotFoundError:
            raise InputError(f"no such file: {self.uri}") from None
        except Image.DecompressionBombError:
            raise InputError(
                f"{self.uri} is too large for a plain picture",
                hint="make a tiled raster of it: gdal_translate -of COG",
            ) from None
        except Exception as error:
            with suppress(OSError):
                if self._path.stat().st_size == 0:
                    raise InputError(
                        f"{self.uri} is empty (0 bytes)", hint="copy or download it again"
                    ) from None
            if isinstance(error, Image.UnidentifiedImageError):
                raise InputError(f"{self.uri} is no picture that can be read") from None
            raise InputError(f"{self.uri} cannot be read: {error}") from None


def _plain_mode(image: Image.Image) -> Image.Image:
    """An image in mode L, LA, RGB or RGBA, or in a mode of one band with more than 8 bits."""
    if image.mode in _COLOURS or image.mode.startswith(("I", "F")):
        return image
    if image.mode == "1":
        return image.convert("L")
    transparent = image.mode in ("PA", "RGBa", "La") or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def _date_tags(exif: Image.Exif) -> dict[str, str]:
    tags = {"EXIF_DateTime": exif.get(ExifTags.Base.DateTime)}
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    if original := camera.get(ExifTags.Base.DateTimeOriginal):
        offset = camera.get(ExifTags.Base.OffsetTimeOriginal) or ""
        tags["EXIF_DateTimeOriginal"] = f"{original}{offset}"
    return {name: value for name, value in tags.items() if isinstance(value, str)}

"""Plain pictures: JPEG, PNG, WebP, BMP and GIF files, which a sidecar may georeference."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dcsh_pg.errors import InputError
from dcsh_pg.imagery import grid
from dcsh_pg.imagery.georeference.placed import Placed
from dcsh_pg.imagery.metadata.origin import Origin
from dcsh_pg.imagery.pixels import bands as band_rules
from dcsh_pg.imagery.pixels.memory import DECODED_BYTES, DECODING_BYTES, Gate, Recent
from dcsh_pg.imagery.pixels.side_files import is_regular, not_regular
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.reduce import read_window, reduced_shape, reduction
from dcsh_pg.imagery.resample import Raster
from dcsh_pg.imagery.scene import Chips, Scene, SceneRecord

# Pillow's warnings (odd EXIF, many pixels) do not help a user of the command line.
warnings.filterwarnings("ignore", module=r"PIL\.")

_COLOURS = {"L": ["gray"], "LA": ["gray", "alpha"], "RGB": ["red", "green", "blue"]}
_COLOURS["RGBA"] = [*_COLOURS["RGB"], "alpha"]
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
"""Formats that Pillow may open, whatever the suffix.  Others run programs: EPS runs Ghostscript."""

_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

_DECODING_PIXEL, _DECODED_PIXEL = 9, 4
"""Bytes per pixel while a picture is decoded and rotated, and of a kept one: Pillow has 4."""

_decoding = Gate(DECODING_BYTES)
_decoded: Recent[_Picture] = Recent(DECODED_BYTES)

T = TypeVar("T")


@dataclass(frozen=True)
class _Picture:
    """A decoded picture, upright, and how its bands become channels.

    Attributes:
        image: in mode L, LA, RGB or RGBA, or in a mode of one band with more than 8 bits.
        width, height: of the picture in the file, upright.
        reduced_by: factor by which it was reduced when it was decoded.
        bands: of the image, counted from 1, one for each channel.
        alpha: index of its alpha band, or None.
        limits: as :func:`band_rules.to_uint8` takes them.
    """

    image: Image.Image
    width: int
    height: int
    reduced_by: int
    bands: tuple[int, ...]
    alpha: int | None
    limits: np.ndarray | None = None

    def read(
        self, reading: Reading, left: int, top: int, width: int, height: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A part of the image: pixels (H, W, C), and which are valid, bool (H, W)."""
        part = self.image.crop((left, top, left + width, top + height))
        data, valid = self._data(np.asarray(part))
        return band_rules.to_pixels(data, valid, self.limits, reading)

    def stretch_limits(self, reading: Reading, uri: str) -> np.ndarray | None:
        """The limits of the whole picture, from a part of its pixels if it is large."""
        first = np.asarray(self.image.crop((0, 0, 1, 1)))
        band_rules.check_type(first.dtype, None, reading, uri=uri)
        if not band_rules.is_stretched(first.dtype, None, reading):
            return None
        step = reduction(*self.image.size)
        data, valid = self._data(np.asarray(self.image)[::step, ::step])
        return band_rules.stretch_limits(data, valid, reading)

    def _data(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (H, W) or (H, W, B) -> (C, H, W) and bool (H, W)."""
        data = np.moveaxis(pixels[..., None] if pixels.ndim == 2 else pixels, -1, 0)
        valid = np.ones(data.shape[1:], bool) if self.alpha is None else data[self.alpha] > 0
        data = data[[band - 1 for band in self.bands]]
        if data.dtype.kind == "f":
            valid = valid & np.isfinite(data).all(axis=0)
        return data, valid


class PictureScene(Scene):
    """A plain picture, rotated upright by its EXIF orientation.

    A model of three bands gets the band of a grey picture three times.  A transparent pixel is invalid.
    Arguments as of :func:`dcsh_pg.imagery.pixels.open.open_scene`.
    """

    def __init__(self, path: Path, reading: Reading, *, channels: int, origin: Origin):
        super().__init__(str(path), reading, channels)
        self._path, self._origin = path, origin
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Pickled without its lock."""
        return {key: value for key, value in vars(self).items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def describe(self) -> SceneRecord:
        width, height, tags, properties = self._guard(self._header)
        metadata = self._origin.metadata
        georeference = self._origin.georeference(width, height, uri=self.uri)
        return SceneRecord(
            uri=self.uri,
            content_hash=self._origin.identity(self._path, is_georeferenced=False),
            width=width,
            height=height,
            windows=grid.windows(width, height, self.reading, uri=self.uri),
            acquired=self._origin.when(tags),
            proj_code=georeference.proj_code if georeference else None,
            resolution=georeference.resolution(width, height) if georeference else None,
            collection=metadata.collection if metadata else None,
            item_id=metadata.item_id if metadata else None,
            properties=properties | self._origin.properties(),
        )

    def read(self, windows: np.ndarray) -> Chips:
        windows = np.asarray(windows, dtype=np.int32).reshape(-1, 4)
        pixels = self._blank(windows)
        shape = pixels.shape[1:3]
        valid_fraction = np.zeros(len(windows), np.float32)
        with self._decoded(windows) as picture:
            size, read = picture.image.size, partial(picture.read, self.reading)
            for index, window in enumerate(windows.tolist()):
                if picture.reduced_by > 1:
                    window, size = [0, 0, *shape[::-1]], shape[::-1]
                valid_fraction[index] = read_window(pixels[index], window, size, read)
        georeference = self._origin.georeference(picture.width, picture.height, uri=self.uri)
        footprints = georeference.footprints(windows) if georeference else None
        return Chips(pixels, windows, footprints, valid_fraction)

    def place(self) -> Placed:
        """Its size and position, from the header and what is known of it.

        Raises:
            InputError: as :meth:`describe`.
        """
        width, height, _, _ = self._guard(self._header)
        return Placed(width, height, self._origin.georeference(width, height, uri=self.uri))

    @contextmanager
    def raster(self) -> Iterator[Raster]:
        """Its pixels, for :func:`dcsh_pg.imagery.resample.resample`."""
        with self._decoded(np.empty((0, 4), np.int32)) as picture:

            def read(
                left: int, top: int, width: int, height: int, reduction: int
            ) -> tuple[np.ndarray, np.ndarray]:
                return picture.read(self.reading, left, top, width, height)

            yield Raster(picture.width, picture.height, read)

    def close(self) -> None:
        _decoded.forget(self)

    def _header(self) -> tuple[int, int, dict[str, str], dict[str, str]]:
        with Image.open(self._path, formats=_FORMATS) as image:
            exif = image.getexif()
            turned = exif.get(ExifTags.Base.Orientation) in _SIDEWAYS
            width, height = image.size[::-1] if turned else image.size
            return width, height, _date_tags(exif), {"driver": image.format, "mode": image.mode}

    @contextmanager
    def _decoded(self, windows: np.ndarray) -> Iterator[_Picture]:
        """The decoded picture, which is kept for its other chips if it has any."""
        if self.reading.chip_size is None:
            with _decoding.take(self._decoding_bytes()):
                yield self._guard(lambda: self._decode(windows))
            return
        with self._lock:  # other threads wait and then find it decoded
            picture = _decoded.get(self)
            if picture is None:
                with _decoding.take(self._decoding_bytes()):
                    picture = self._guard(lambda: self._decode(windows))
                _decoded.put(self, picture, _DECODED_PIXEL * picture.width * picture.height)
        yield picture

    def _decoding_bytes(self) -> int:
        def size() -> tuple[int, int]:
            with Image.open(self._path, formats=_FORMATS) as image:
                width, height = image.size
                return width, height

        width, height = self._guard(size)
        return _DECODING_PIXEL * width * height

    def _decode(self, windows: np.ndarray) -> _Picture:
        """The picture, reduced while it is decoded if ``windows`` is the whole of a large picture."""
        with Image.open(self._path, formats=_FORMATS) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
            upright = (height, width) if turned else (width, height)
            factor = reduction(width, height)
            reduced_by = 1
            if factor > 1 and windows.tolist() == [[0, 0, *upright]]:
                # A JPEG decodes faster at a half, quarter or eighth of its size.
                image.draft(image.mode, (width // factor, height // factor))
                reduced_by = factor if image.size == reduced_shape(width, height)[::-1] else 1
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            image = _plain_mode(image)
        colours = _COLOURS.get(image.mode, ["gray"])
        reading = self.reading
        if reading.bands is None and self.channels == 3 and colours[0] == "gray":
            reading = replace(reading, bands=(1, 1, 1))
        bands = band_rules.choose_bands(colours, self.channels, reading, uri=self.uri)
        alpha = colours.index("alpha") if "alpha" in colours else None
        picture = _Picture(image, *upright, reduced_by, bands, alpha)
        return replace(picture, limits=picture.stretch_limits(self.reading, self.uri))

    def _guard(self, work: Callable[[], T]) -> T:
        """Runs ``work``; any error of a decoder becomes an InputError."""
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
                hint="convert it to a tiled raster: gdal_translate -of COG",
            ) from None
        except Exception as error:
            with suppress(OSError):
                if self._path.stat().st_size == 0:
                    raise InputError(
                        f"{self.uri} is empty (0 bytes)", hint="copy or download it again"
                    ) from None
            if isinstance(error, UnidentifiedImageError):
                raise InputError(f"{self.uri} is not a readable picture") from None
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

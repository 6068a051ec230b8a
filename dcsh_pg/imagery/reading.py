"""How scenes are cut into chips and their pixels read; stored with the archive.

Every later scene and every query is read by the same ``Reading``, so that codes stay comparable.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from dcsh_pg.errors import UsageError
from dcsh_pg.pixel_types import TYPES, UINT8

MOST_TIMES = 64
"""Largest size of a chip, in sizes of the smallest."""

Edge = Literal["shift", "pad", "drop"]
Scale = Literal["auto"] | tuple[float, float] | None


@dataclass(frozen=True)
class Mask:
    """A band that says which pixels are of no use: clouds, shadows.

    Attributes:
        band: its number or name in the file, or the asset of a STAC item.
        values: of the band, where a pixel is masked.
        bits: counted from 0, where a pixel of any of them set is masked.
    """

    band: int | str
    values: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.values) == bool(self.bits) or not all(0 <= bit < 32 for bit in self.bits):
            raise UsageError(
                f"--mask {self.band}: give classes, or bits from 0 to 31",
                hint="--mask SCL=3,8,9,10 names classes, --mask QA_PIXEL:3,4 bits",
            )

    def masked(self, values: np.ndarray) -> np.ndarray:
        """Which values of the band mask their pixel: bool."""
        if self.values:
            return np.isin(values, self.values)
        whole = np.nan_to_num(values).astype(np.int64)
        is_set: np.ndarray = (whole & sum(1 << bit for bit in self.bits)) != 0
        return is_set


@dataclass(frozen=True)
class Reading:
    """How scenes are cut into chips and their pixels read.

    Attributes:
        chip_size: width and height of a chip in pixels; None makes the whole image one chip.
        stride: pixels from one chip to the next; None is ``chip_size``, no overlap.
        edge: how chips at the edges are placed, see :mod:`dcsh_pg.imagery.grid`.
        anchor: the grid starts at the origin of the scene's coordinate reference system instead of
            the scene's corner, so that scenes of one place share a grid; with edge 'drop' or 'pad'.
            A scene without an affine transform keeps the grid of its corner.
        bands: which bands become the model's channels, in the model's order: numbers, counted from 1, or
            names; a band may be repeated; None chooses them, see
            :func:`dcsh_pg.imagery.pixels.bands.choose_bands`.
        scale: ``(lo, hi)`` maps lo..hi linearly to 0..255 and clips; 'auto' does so with the 2nd
            and 98th percentile of each band of the scene; None keeps 8-bit data without scale
            and offset and treats all other data as 'auto'.
        raw_values: read stored values; else GDAL's scale and offset of each band are applied first.
        by_colour: a model of three bands reads the bands marked red, green and blue, in this order,
            even if the file has no others; False reads all in order then, as archives do that are
            older than this option.
        min_valid: smallest fraction of valid pixels, 0..1, of a chip that is hashed.
        dtype: type of the pixels, that of the model; 'uint8' stretches other data by ``scale``, the
            others of :data:`dcsh_pg.pixel_types.TYPES` keep their values.
        nodata: value of invalid pixels in files that do not say one, or None.
        preset: name of a product of :mod:`dcsh_pg.imagery.presets`, whose synonyms of bands and offsets
            of values are used, or None.
        mask: band by which pixels are invalid, or None.
        resolution: metres per pixel to which scenes are brought, or None for their own.
        multiscale: chips are made of so many times ``chip_size`` a side, each brought to ``chip_size``;
            empty for once.

    Raises:
        UsageError: an invalid value; the message names the option.
    """

    SMALLEST: ClassVar[int] = 8
    """Least width and height of a chip."""

    chip_size: int | None = None
    stride: int | None = None
    edge: Edge = "shift"
    bands: tuple[int | str, ...] | None = None
    scale: Scale = None
    min_valid: float = 0.5
    anchor: bool = False
    raw_values: bool = False
    by_colour: bool = True
    dtype: str = UINT8
    nodata: float | None = None
    preset: str | None = None
    mask: Mask | None = None
    resolution: float | None = None
    multiscale: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.chip_size is not None and self.chip_size < self.SMALLEST:
            raise UsageError(
                f"--chip-size {self.chip_size}: must be at least {self.SMALLEST} pixels",
                hint="use the size that the model was trained on, 128 for example",
            )
        if self.stride is not None and self.chip_size is None:
            raise UsageError("--stride without --chip-size", hint="add --chip-size")
        if self.stride is not None and self.stride < 1:
            raise UsageError(
                f"--stride {self.stride}: must be at least 1 pixel",
                hint="leave it out for adjacent chips",
            )
        if self.edge not in get_args(Edge):
            raise UsageError(f"--edge {self.edge!r}", hint="use shift, pad or drop")
        if self.anchor and self.chip_size is None:
            raise UsageError("--anchor without --chip-size", hint="add --chip-size")
        if self.anchor and self.edge == "shift":
            raise UsageError(
                "--edge shift moves chips off the grid of --anchor", hint="use --edge drop or pad"
            )
        if self.bands is not None and not all(map(_is_band, self.bands or ("",))):
            raise UsageError(
                f"--bands {','.join(map(str, self.bands))}: bands are counted from 1, or names",
                hint="--bands 1,2,3 takes the first three bands, --bands B04,B03,B02 those of these names",
            )
        if isinstance(self.scale, str) and self.scale != "auto":
            raise UsageError(
                f"--scale {self.scale!r}", hint="use auto or LO,HI, 0,3000 for example"
            )
        if isinstance(self.scale, tuple) and not (
            len(self.scale) == 2 and self.scale[0] < self.scale[1]
        ):
            raise UsageError(
                f"--scale {','.join(map(str, self.scale))}: needs LO,HI with LO below HI",
                hint="--scale 0,3000 maps 0 to black and 3000 to white",
            )
        if self.resolution is not None and not 0 < self.resolution < 1e6:
            raise UsageError(
                f"--resolution {self.resolution:g}: must be positive",
                hint="give metres per pixel, 10 for example",
            )
        if self.multiscale and self.chip_size is None:
            raise UsageError("--multiscale without --chip-size", hint="add --chip-size")
        if len(set(self.multiscale)) < len(self.multiscale) or not all(
            isinstance(n, int) and 1 <= n <= MOST_TIMES for n in self.multiscale
        ):
            raise UsageError(
                f"--multiscale {','.join(map(str, self.multiscale))}: needs different whole numbers "
                f"from 1 to {MOST_TIMES}",
                hint="--multiscale 1,2,4 adds chips of twice and four times the size",
            )
        if self.dtype not in TYPES:
            raise UsageError(f"--dtype {self.dtype!r}", hint=f"use {', '.join(TYPES)}")
        if self.dtype != UINT8 and self.scale is not None:
            raise UsageError(
                f"--scale is for models of 8 bits, and this one takes {self.dtype}",
                hint="leave out --scale: the model scales its input itself",
            )
        if not 0.0 <= self.min_valid <= 1.0:
            raise UsageError(
                f"--min-valid {self.min_valid}: must lie between 0 and 1",
                hint="0 keeps every chip, 1 only those without invalid pixels",
            )

    def check_bands(self, taken: int) -> None:
        """Raises UsageError if ``bands`` are not as many as the model takes."""
        if self.bands is not None and len(self.bands) != taken:
            raise UsageError(
                f"--bands {','.join(map(str, self.bands))}: the model takes {taken} bands",
                hint="give one band for each, in the model's order; a band may be repeated",
            )

    def check_dtype(self, taken: str) -> None:
        """Raises UsageError if pixels are read as another type than the model takes."""
        if self.dtype != taken:
            raise UsageError(
                f"the archive reads pixels as {self.dtype}, the model takes {taken}",
                hint=f"use a model of {self.dtype}, or ingest into a new archive",
            )

    @property
    def is_resampled(self) -> bool:
        """Whether the pixels of chips differ from those of the scene."""
        return self.resolution is not None or self.multiscale not in ((), (1,))

    @property
    def step(self) -> int | None:
        """Pixels from one chip to the next, or None if the whole image is one chip."""
        return self.stride or self.chip_size

    def to_json(self) -> dict[str, Any]:
        """The reading as a dictionary that JSON can carry; newer options at their defaults are left out."""
        fields = dataclasses.asdict(self)
        kept = {key: v for key, v in fields.items() if key not in _NEWER or v != _NEWER[key]}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in kept.items()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Reading:
        """The inverse of :meth:`to_json`; older archives keep the defaults that they were made with."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in (_OLD_DEFAULTS | fields).items()
        }
        if mask := values.get("mask"):
            given: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in mask.items()
            }
            values["mask"] = Mask(**given)
        return cls(**values)


def _is_band(band: object) -> bool:
    return band >= 1 if isinstance(band, int) else isinstance(band, str) and bool(band.strip())


class PoolingReading(Reading):
    """How rasters of embeddings are cut into the chips over which they are pooled."""

    SMALLEST = 1


_OLD_DEFAULTS = {"raw_values": True, "by_colour": False}
"""Of archives older than these options."""

_NEWER: dict[str, Any] = {
    field.name: field.default
    for field in dataclasses.fields(Reading)
    if field.name in ("dtype", "nodata", "preset", "mask", "resolution", "multiscale")
}
"""Options that archives without them need not know."""

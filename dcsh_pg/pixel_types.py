"""Types of the pixels that a model takes, and how each marks a pixel without a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

UINT8 = "uint8"
"""Eight bits: scenes of other types are stretched to 0..255, and invalid pixels are 0."""

NODATA: dict[str, int | None] = {
    UINT8: None,
    "int8": -128,
    "uint16": 0,
    "int16": -32768,
    "float32": None,
}
"""By type: the value that all bands of an invalid pixel have.  None: of uint8 there is none, of float32
it is NaN."""

TYPES = tuple(NODATA)

NEAREST_KNOTS = 256
"""Two knots are at least this part of the range apart, so that noise is not stretched without end."""


@dataclass(frozen=True)
class PixelRange:
    """The type of a model's pixels, and the values that it scales to 0 and 1.

    Attributes:
        dtype: of ``TYPES``.
        low, high: of each band; empty for uint8, whose 0 and 255 they are.
        knots: values between them, the same number for each band, band by band; they become equal steps
            between 0 and 1, with straight lines between them.  Empty for one straight line.
    """

    dtype: str = UINT8
    low: tuple[float, ...] = field(default=())
    high: tuple[float, ...] = field(default=())
    knots: tuple[float, ...] = field(default=())

    @property
    def points(self) -> np.ndarray:
        """Low, knots and high of each band: float64 (C, M + 2)."""
        low, high = (np.array(values)[:, None] for values in (self.low, self.high))
        return np.hstack([low, np.reshape(self.knots, (len(low), -1)), high])

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Values (..., C) in the units of the images -> float64 (..., C), 0..1."""
        found = np.empty(values.shape)
        for band, points in enumerate(self.points):
            found[..., band] = np.interp(values[..., band], points, np.linspace(0, 1, len(points)))
        return found

    @property
    def is_typed(self) -> bool:
        """Whether pixels have another type than uint8."""
        return self.dtype != UINT8

    @property
    def config(self) -> dict[str, Any]:
        """Plain values that make the same range."""
        return {"dtype": self.dtype, "low": self.low, "high": self.high, "knots": self.knots}

    @classmethod
    def of(
        cls, images: np.ndarray, percentiles: Sequence[float], between: Sequence[float] = ()
    ) -> PixelRange:
        """The range between two percentiles of the valid pixels of images (..., C).

        ``between`` are the percentiles of the knots, moved apart where they lie closer than a 256th of the range.
        """
        dtype = str(images.dtype)
        if dtype == UINT8:
            return cls()
        values = valid_pixels(images)
        if not len(values):
            values = np.zeros((1, images.shape[-1]))
        low, high = np.percentile(values.astype(np.float64), percentiles, axis=0)
        high = np.where(high > low, high, low + 1.0)
        points = [low, *np.percentile(values.astype(np.float64), list(between), axis=0), high]
        gap = (high - low) / NEAREST_KNOTS
        for n in range(1, len(between) + 1):
            points[n] = np.maximum(points[n], points[n - 1] + gap)
        for n in range(len(between), 0, -1):
            points[n] = np.minimum(points[n], points[n + 1] - gap)
        # Nine digits: the graph keeps float32.
        low, *knots, high = [[float(f"{value:.9g}") for value in of] for of in points]
        flat = tuple(value for band in zip(*knots, strict=True) for value in band)
        return cls(dtype, tuple(low), tuple(high), flat)


def blank(shape: Sequence[int], dtype: str) -> np.ndarray:
    """Pixels of which all are invalid."""
    nodata = np.nan if dtype == "float32" else NODATA[dtype] or 0
    return np.full(shape, nodata, dtype)


def are_valid(pixels: np.ndarray) -> np.ndarray:
    """Which pixels (..., C) of another type than uint8 have values: bool (...)."""
    if pixels.dtype.kind == "f":
        finite: np.ndarray = np.isfinite(pixels).all(axis=-1)
        return finite
    nodata = NODATA[str(pixels.dtype)]
    some: np.ndarray = (pixels != nodata).any(axis=-1)
    return some


def valid_pixels(pixels: np.ndarray) -> np.ndarray:
    """The valid ones of pixels (..., C) of any type: (N, C)."""
    if str(pixels.dtype) == UINT8:
        return pixels.reshape(-1, pixels.shape[-1])
    found: np.ndarray = pixels[are_valid(pixels)]
    return found


def to_type(values: np.ndarray, valid: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (..., C) of any type as pixels of a type other than uint8, and which of them are valid.

    Values beyond the range of an integer type become its ends.  A valid pixel whose bands all have
    the value of an invalid one gets 1 more in the first.

    Args:
        valid: bool (...).
    """
    with np.errstate(over="ignore", invalid="ignore"):  # invalid pixels may have any value
        if dtype == "float32":
            pixels = values.astype(np.float32)
            valid = valid & np.isfinite(pixels).all(axis=-1)
        elif str(values.dtype) == dtype:
            pixels = values.copy()
        else:
            ends = np.iinfo(dtype)
            pixels = np.clip(
                np.rint(np.where(valid[..., None], values, 0)), ends.min, ends.max
            ).astype(dtype)
    if dtype != "float32":
        pixels[valid & ~are_valid(pixels), 0] += 1
    pixels[~valid] = blank((), dtype)
    return pixels, valid

"""From the bands of a file to the channels of a model, and from any data type to uint8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.reading import Reading

LOW_PERCENTILE, HIGH_PERCENTILE = 2.0, 98.0
RGB = ("red", "green", "blue")


def choose_bands(
    colours: Sequence[str], wanted: int, explicit: tuple[int, ...] | None, *, uri: str
) -> tuple[int, ...]:
    """Which bands of a file become the channels of a model that takes ``wanted``.

    In this order: the bands that were asked for; all bands in order if their number fits, alpha
    not counted; the bands marked red, green and blue if three are needed.

    Args:
        colours: what each band of the file shows, in order: 'red', 'gray', 'alpha', 'undefined', ...
        explicit: ``Reading.bands``.
        uri: for the message.

    Returns:
        ``wanted`` bands, counted from 1.

    Raises:
        InputError: the file has no such band, or it is unclear which ones are meant.
    """
    if explicit is not None:
        if max(explicit) > len(colours):
            raise InputError(
                f"{uri} has {_bands(len(colours))}, band {max(explicit)} was asked for",
                hint=f"choose with --bands from 1 to {len(colours)}",
            )
        return explicit
    seen = [index for index, colour in enumerate(colours, 1) if colour != "alpha"]
    if len(seen) == wanted:
        return tuple(seen)
    if wanted == 3 and all(list(colours).count(colour) == 1 for colour in RGB):
        return tuple(list(colours).index(colour) + 1 for colour in RGB)
    if len(seen) == 1:
        hint = f"--bands {','.join(['1'] * wanted)} repeats the band, told when an archive is made"
    else:
        first = [seen[min(index, len(seen) - 1)] for index in range(wanted)]
        hint = f"choose with --bands {','.join(map(str, first))} or others"
    raise InputError(f"{uri} has {_bands(len(seen))}, the model takes {wanted}", hint=hint)


def _bands(count: int) -> str:
    return f"{count} band" if count == 1 else f"{count} bands"


def is_scaled(dtype: np.dtype, reading: Reading) -> bool:
    """Whether data of ``dtype`` is stretched to 0..255, or is taken as it is."""
    return reading.scale is not None or dtype != np.uint8


def stretch_limits(data: np.ndarray, valid: np.ndarray, reading: Reading) -> np.ndarray:
    """The (lo, hi) of each band that map to 0 and 255.

    Args:
        data: (B, H, W), a view of the whole scene; may be decimated.
        valid: bool (H, W).

    Returns:
        float64 (B, 2), lo < hi.
    """
    if isinstance(reading.scale, tuple):
        return np.array([reading.scale] * len(data), dtype=np.float64)
    if not valid.any():
        return np.array([(0.0, 1.0)] * len(data))
    percentiles = [LOW_PERCENTILE, HIGH_PERCENTILE]
    limits = np.array([np.percentile(band[valid].astype(np.float64), percentiles) for band in data])
    limits[limits[:, 0] >= limits[:, 1], 1] += 1.0
    return limits


def to_uint8(data: np.ndarray, valid: np.ndarray, limits: np.ndarray | None) -> np.ndarray:
    """Any data (B, H, W) -> uint8 (H, W, B), 0 where not valid.

    Args:
        valid: bool (H, W).
        limits: float64 (B, 2) that map to 0 and 255, or None for uint8 data taken as it is.
    """
    if limits is not None:
        low, high = limits.T[..., None, None]
        # NaN and infinity are masked before the cast, where they would have no meaning.
        stretched = (np.where(valid, data, 0).astype(np.float64) - low) * (255.0 / (high - low))
        data = np.rint(np.clip(stretched, 0.0, 255.0)).astype(np.uint8)
    pixels = np.moveaxis(data, 0, -1)
    return pixels if valid.all() else np.where(valid[..., None], pixels, np.uint8(0))

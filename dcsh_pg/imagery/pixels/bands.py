"""From the bands of a file to the channels of a model, and from any data type to that of its pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.presets import PRESETS
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.pixel_types import UINT8, to_type

LOW_PERCENTILE, HIGH_PERCENTILE = 2.0, 98.0
RGB = ("red", "green", "blue")


def choose_bands(
    colours: Sequence[str],
    wanted: int,
    reading: Reading,
    *,
    uri: str,
    names: Sequence[str | None] = (),
) -> tuple[int, ...]:
    """The bands of a file that become the channels of a model that takes ``wanted``.

    In this order: the bands of the reading; those marked red, green and blue if three are wanted;
    all bands in order if their number matches, without alpha.

    Args:
        colours: colour interpretation of each band of the file, in order: 'red', 'gray', 'alpha', 'undefined', ...
        reading: its ``bands`` and ``by_colour``.
        uri: of the file, for messages.
        names: descriptions of its bands, in order.

    Returns:
        ``wanted`` bands, counted from 1.

    Raises:
        InputError: the file has no such band, or the choice is ambiguous.
    """
    if reading.bands is not None:
        return tuple(number_of(band, colours, names, reading, uri=uri) for band in reading.bands)
    seen = tuple(index for index, colour in enumerate(colours, 1) if colour != "alpha")
    is_marked = wanted == 3 and all(list(colours).count(colour) == 1 for colour in RGB)
    if is_marked and (reading.by_colour or len(seen) != wanted):
        return tuple(list(colours).index(colour) + 1 for colour in RGB)
    if len(seen) == wanted:
        return seen
    if len(seen) == 1 and wanted == 3:
        hint = "--bands 1,1,1 repeats the band; give it when the archive is created"
    elif len(seen) < wanted:
        hint = f"use imagery of {_bands(wanted)}, or a model that takes {_bands(len(seen))}"
    else:
        hint = (
            f"choose {_bands(wanted)} with --bands, --bands {_example(seen[:wanted])} for example"
        )
    raise InputError(f"{uri} has {_bands(len(seen))}, the model takes {wanted}", hint=hint)


def number_of(
    band: int | str,
    colours: Sequence[str],
    names: Sequence[str | None],
    reading: Reading,
    *,
    uri: str,
) -> int:
    """The number of a band, counted from 1: by its description, else by its colour.

    Arguments as of :func:`choose_bands`; a preset of the reading knows further names.

    Raises:
        InputError: there is no such band.
    """
    if isinstance(band, int):
        if band > len(colours):
            raise InputError(
                f"{uri} has {_bands(len(colours))}, but --bands contains {band}",
                hint=f"choose with --bands from 1 to {len(colours)}",
            )
        return band
    wanted = synonyms(band, reading)
    for known in (names, colours):
        found = [(name or "").strip().lower() for name in known]
        for name in wanted:
            if found.count(name.lower()) == 1:
                return found.index(name.lower()) + 1
    kinds = [name for name in [*names, *colours] if name and name != "undefined"]
    raise InputError(
        f"{uri} has no band {band!r}, or several",
        hint=f"its bands are {', '.join(dict.fromkeys(kinds))}"
        if kinds
        else f"its bands have no names: choose with --bands from 1 to {len(colours)}",
    )


def synonyms(band: str, reading: Reading) -> list[str]:
    """A name and those that the reading's preset has for the same band."""
    preset = PRESETS.get(reading.preset or "")
    return preset.names(band) if preset else [band]


def listed(bands: Sequence[int]) -> str:
    """'1,2,3', as ``--bands`` takes it."""
    return ",".join(map(str, bands))


def bands_taken(scenes: Mapping[str, int]) -> str:
    """'bands 3,2,1', or 'bands 3,2,1 of 9 scenes and 1,2,3 of 1', for people.

    Args:
        scenes: how many scenes gave which bands, :func:`listed`; may be empty.
    """
    if len(scenes) < 2:
        return "".join(f"bands {bands}" for bands in scenes)
    (most, count), (next_most, others) = Counter(scenes).most_common(2)
    more = ", and others" if len(scenes) > 2 else ""
    return f"bands {most} of {count} scenes and {next_most} of {others}{more}"


def _example(bands: Sequence[int]) -> str:
    """'1,2,3', or '1,2,...,13' for many."""
    return listed(bands) if len(bands) <= 4 else f"{listed(bands[:2])},...,{bands[-1]}"


def _bands(count: int) -> str:
    return f"{count} band" if count == 1 else f"{count} bands"


def physical_scale(
    scales: Sequence[float], offsets: Sequence[float], *, uri: str
) -> np.ndarray | None:
    """Scale and offset of each band -> float64 (B, 2), or None if they change nothing.

    Raises:
        InputError: a scale is 0, or one of them is not finite.
    """
    linear = np.stack([scales, offsets], axis=-1).astype(np.float64)
    if not np.isfinite(linear).all() or (linear[:, 0] == 0).any():
        raise InputError(
            f"{uri} has a band with scale {linear[:, 0].tolist()} and offset "
            f"{linear[:, 1].tolist()}, which give no values",
            hint="fix them with gdal_edit.py -scale -offset, or read stored values with "
            "--raw-values when the archive is created",
        )
    return None if (linear == (1, 0)).all() else linear


def to_physical(data: np.ndarray, linear: np.ndarray | None) -> np.ndarray:
    """Stored values (B, H, W) -> physical values: value * scale + offset, float64."""
    if linear is None:
        return data
    scales, offsets = linear.T[..., None, None]
    with np.errstate(over="ignore", invalid="ignore"):  # invalid pixels may have any value
        values: np.ndarray = data * scales + offsets
    return values


def is_stretched(dtype: np.dtype[Any], linear: np.ndarray | None, reading: Reading) -> bool:
    """Whether data is stretched to 0..255, or keeps its values."""
    if reading.dtype != UINT8:
        return False
    return reading.scale is not None or dtype != np.uint8 or linear is not None


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


def check_type(
    dtype: np.dtype[Any], linear: np.ndarray | None, reading: Reading, *, uri: str
) -> None:
    """Refuses data that the type of the reading cannot hold; uint8 is stretched from any data.

    Raises:
        InputError: another type, or a scale and offset that give other than whole numbers.
    """
    if reading.dtype in (UINT8, "float32"):
        return
    if dtype != reading.dtype:
        raise InputError(
            f"{uri} contains {dtype}, the model takes {reading.dtype}",
            hint=f"use imagery of {reading.dtype}, or train a model for this: dcsh-pg train --dtype",
        )
    if linear is not None and not ((linear[:, 0] == 1) & (linear[:, 1] % 1 == 0)).all():
        raise InputError(
            f"{uri} has a scale or offset that gives fractions, the model takes {reading.dtype}",
            hint="train a model with --dtype float32, or for stored values with --raw-values",
        )


def to_pixels(
    data: np.ndarray, valid: np.ndarray, limits: np.ndarray | None, reading: Reading
) -> tuple[np.ndarray, np.ndarray]:
    """Data of any type (B, H, W) -> pixels (H, W, B) of the reading's type, and which are valid.

    Args:
        valid: bool (H, W).
        limits: as :func:`to_uint8`.
    """
    if reading.dtype == UINT8:
        return to_uint8(data, valid, limits), valid
    return to_type(np.moveaxis(data, 0, -1), valid, reading.dtype)


def to_uint8(data: np.ndarray, valid: np.ndarray, limits: np.ndarray | None) -> np.ndarray:
    """Data of any type (B, H, W) -> uint8 (H, W, B), 0 where invalid.

    Args:
        valid: bool (H, W).
        limits: float64 (B, 2) that map to 0 and 255, or None to keep uint8 data.
    """
    if limits is not None:
        low, high = limits.T[..., None, None]
        # NaN and infinity are masked before the cast, which is undefined for them.
        stretched = (np.where(valid, data, 0).astype(np.float64) - low) * (255.0 / (high - low))
        data = np.rint(np.clip(stretched, 0.0, 255.0)).astype(np.uint8)
    pixels = np.moveaxis(data, 0, -1)
    return pixels if valid.all() else np.where(valid[..., None], pixels, np.uint8(0))

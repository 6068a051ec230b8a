"""The training set: chips of unlabelled scenes, all of one size."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from dcsh_pg.errors import InputError, OutputError, TrainingError
from dcsh_pg.imagery.pixels.bands import bands_taken, listed
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Scene, SceneRecord
from dcsh_pg.learning.data.image_store import as_tensor
from dcsh_pg.pixel_types import UINT8, PixelRange, are_valid, to_type, valid_pixels
from dcsh_pg.progress import SILENT, Progress

MEMORY_LIMIT = 2 << 30
"""Bytes above which the training set is kept in a file instead of in memory."""
LIMITS = {"cpu": 5_000, "cuda": 50_000}
"""Most chips to learn from by default, by device: training takes minutes."""
WHOLE_SIZE = 256
"""Width and height in pixels to which whole pictures are resized."""
_READ_CHIPS = 64
_STATISTICS_IMAGES = 2000
_STATISTICS_VALUES = 1 << 25
RANGE_PERCENTILES = (0.1, 99.9)
"""Percentiles of each band that become 0 and 1 in images of another type than uint8."""
KNOT_PERCENTILES = (12.5, 25, 37.5, 50, 62.5, 75, 87.5)
"""Those that become equal steps between them: what is frequent gets most of the range, so that dark values keep
their differences beside bright ones."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Images to learn from.

    Attributes:
        images: (N, S, S, C) of the reading's type, in the order of the scenes; an array or a memory
            map.  Or embeddings float32 (N, dim).
        scenes: number of their scenes.
        skipped: number of chips skipped because too few of their pixels are valid.
        failed: why scenes could not be read.
        resolution: median ground size of a pixel in metres, or None where unknown.
        pooled: pixels of a side of a chip, of embeddings.
        embedding: how embeddings are made, for the model's card.
        band_names: names of the bands, if they were chosen by name.
        preset: of the reading of the scenes.
    """

    images: np.ndarray
    scenes: int
    skipped: int = 0
    failed: tuple[str, ...] = ()
    resolution: float | None = None
    pooled: int | None = None
    embedding: dict[str, Any] | None = None
    band_names: tuple[str, ...] = ()
    preset: str | None = None


def gather(
    scenes: Sequence[Scene],
    *,
    size: int,
    limit: int | None = None,
    seed: int = 0,
    scratch: Path | None = None,
    progress: Progress = SILENT,
) -> TrainingSet:
    """Reads the chips of all scenes.

    Scenes that cannot be read are skipped and listed in ``failed``.

    Args:
        scenes: each bound to its reading, whose ``min_valid`` decides which chips count.
        size: S; chips of another size are resized to it.
        limit: largest number of chips, drawn by ``seed`` and as evenly over the scenes as their
            numbers of chips permit; None takes all.
        scratch: folder for a training set too large for memory; None always uses memory.

    Raises:
        InputError: no scene could be read.
        TrainingError: no chip has enough valid pixels.
        OutputError: ``scratch`` cannot be written.
    """
    some = _draw_scenes(scenes, limit, seed)
    described, failed = _describe(some, progress)
    bands = Counter(listed(record.bands) for _, record in described if record.bands)
    if bands:
        progress.note(f"read {bands_taken(bands)}")
    counts = [len(record.windows) for _, record in described]
    parts = _draw_chips(counts, limit, seed)
    total = sum(map(len, parts))
    if total < sum(counts) or len(some) < len(scenes):
        progress.note(
            f"learning from {total:,} of {sum(counts):,} chips, drawn evenly over {len(some):,} of "
            f"{len(scenes):,} scenes; take all with --limit all"
        )
    images: np.ndarray | None = None
    filled = skipped = used = 0
    progress.start("reading chips", total)
    for (scene, record), part in zip(described, parts, strict=True):
        windows = record.windows[part]
        before = filled
        with scene:
            for first in range(0, len(windows), _READ_CHIPS):
                try:
                    chips = scene.read(windows[first : first + _READ_CHIPS])
                except InputError as error:
                    failed.append(error.message)
                    progress.note(f"skipped: {error.message}")
                    break
                good = chips.valid_fraction >= scene.reading.min_valid
                pixels = resize(chips.pixels[good], size)
                if images is None:
                    shape = (total, size, size, pixels.shape[3])
                    images = _allocate(shape, pixels.dtype, scratch)
                images[filled : filled + len(pixels)] = pixels
                filled += len(pixels)
                skipped += int((~good).sum())
                progress.advance(len(good))
        used += filled > before
    if images is None:
        raise InputError(failed[0] if failed else "the scenes hold no chips")
    if filled == 0:
        raise TrainingError(
            f"none of {skipped} chips has enough valid pixels",
            hint="lower --min-valid, or give imagery with fewer gaps",
        )
    resolutions = [
        scene.reading.resolution or record.resolution
        for scene, record in described
        if record.resolution
    ]
    reading = scenes[0].reading
    return TrainingSet(
        images[:filled],
        scenes=used,
        skipped=skipped,
        failed=tuple(failed),
        resolution=median(resolutions) if resolutions else None,
        band_names=_names(reading),
        preset=reading.preset,
    )


def _names(reading: Reading) -> tuple[str, ...]:
    """The bands of a reading, if all are names."""
    bands = reading.bands or ()
    names = tuple(band for band in bands if isinstance(band, str))
    return names if len(names) == len(bands) else ()


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """(N, H, W, C) -> (N, size, size, C) of the same type, bilinear and antialiased.

    Invalid pixels of another type than uint8 have no part in it; a pixel is invalid where most of it is.
    """
    if pixels.shape[1:3] == (size, size):
        return pixels
    if str(pixels.dtype) == UINT8:
        return _interpolated(pixels, size).round().clamp(0, 255).to(torch.uint8).numpy()
    valid = are_valid(pixels)[..., None]
    share = _interpolated(valid.astype(np.float32), size).numpy()
    sums = _interpolated(np.where(valid, pixels, 0).astype(np.float32), size).numpy()
    return to_type(sums / np.maximum(share, 1e-6), share[..., 0] >= 0.5, str(pixels.dtype))[0]


def _interpolated(pixels: np.ndarray, size: int) -> torch.Tensor:
    planes = as_tensor(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()
    resized = functional.interpolate(
        planes, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return resized.permute(0, 2, 3, 1)


def digest(images: np.ndarray) -> str:
    """SHA-256 over the images' shape, type unless uint8, and pixels, in hexadecimal."""
    kind = "" if images.dtype == np.uint8 or images.ndim == 2 else str(images.dtype)
    sha = hashlib.sha256(f"{images.shape!r}{kind}".encode())
    for image in images:
        sha.update(np.ascontiguousarray(image).data)
    return sha.hexdigest()


def pixel_range(images: np.ndarray, *, is_linear: bool = False) -> PixelRange:
    """The type of images, and the percentiles of their valid pixels that become 0, equal steps, and 1."""
    return PixelRange.of(_some(images), RANGE_PERCENTILES, () if is_linear else KNOT_PERCENTILES)


def band_statistics(
    images: np.ndarray, pixels: PixelRange = PixelRange()
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each band of images scaled to 0..1, over some of them."""
    if pixels.is_typed:
        scaled = pixels.scaled(valid_pixels(_some(images)))
        mean, std = scaled.mean(axis=0), np.maximum(scaled.std(axis=0), 1 / 255)
        return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())
    return _statistics_of_bytes(_some(images).reshape(-1, images.shape[3]))


def _some(images: np.ndarray) -> np.ndarray:
    """At most 2,000 to 4,000 of the images, or fewer of many or wide bands."""
    wanted = _STATISTICS_IMAGES
    if str(images.dtype) != UINT8:
        wanted = min(wanted, max(1, _STATISTICS_VALUES // images[0].size))
    return np.asarray(images[:: max(1, len(images) // wanted)])


def _statistics_of_bytes(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean = pixels.mean(axis=0, dtype=np.float64) / 255
    std = np.maximum(pixels.std(axis=0, dtype=np.float64) / 255, 1 / 255)
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())


def _describe(
    scenes: Sequence[Scene], progress: Progress
) -> tuple[list[tuple[Scene, SceneRecord]], list[str]]:
    described, failed = [], []
    progress.start("scanning scenes", len(scenes))
    for scene in scenes:
        try:
            described.append((scene, scene.describe()))
        except InputError as error:
            failed.append(error)
            progress.note(f"skipped: {error.message}")
        finally:
            scene.close()
        progress.advance()
    if failed and not described:
        raise failed[0]
    return described, [error.message for error in failed]


def _draw_scenes(scenes: Sequence[Scene], limit: int | None, seed: int) -> Sequence[Scene]:
    """Twice as many as chips are wanted, since some fail; all where there are no more.

    Describing a scene reads its file.
    """
    if limit is None or len(scenes) <= 2 * limit:
        return scenes
    drawn = np.random.default_rng(seed).choice(len(scenes), 2 * limit, replace=False)
    return [scenes[number] for number in np.sort(drawn)]


def _draw_chips(counts: Sequence[int], limit: int | None, seed: int) -> list[np.ndarray]:
    """Sorted indices of the chips to take, of each scene with so many chips."""
    random = np.random.default_rng(seed)
    quotas = np.array(counts, int)
    if limit is not None and quotas.sum() > limit:
        quotas = _even_quotas(quotas, limit, random)
    return [
        np.sort(random.choice(count, quota, replace=False)) if quota < count else np.arange(count)
        for count, quota in zip(counts, quotas.tolist(), strict=True)
    ]


def _even_quotas(counts: np.ndarray, limit: int, random: np.random.Generator) -> np.ndarray:
    """min(count, level) of each, with the level at which they sum to the limit."""
    level, rest = 0, limit
    while rest >= (open_ones := np.count_nonzero(counts > level)):
        step = max(1, min(rest // open_ones, int(counts[counts > level].min()) - level))
        level, rest = level + step, rest - step * open_ones
    quotas: np.ndarray = np.minimum(counts, level)
    quotas[random.choice(np.flatnonzero(counts > level), rest, replace=False)] += 1
    return quotas


def _allocate(shape: tuple[int, ...], dtype: np.dtype[Any], scratch: Path | None) -> np.ndarray:
    if scratch is None or np.prod(shape) * dtype.itemsize <= MEMORY_LIMIT:
        return np.empty(shape, dtype)
    try:
        return np.lib.format.open_memmap(scratch / "images.npy", "w+", dtype, shape)
    except OSError as error:
        raise OutputError(
            f"cannot keep the training set in {scratch}: {error.strerror}",
            hint="choose another folder with --out, or fewer images with --limit",
        ) from error

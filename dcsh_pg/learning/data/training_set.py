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
from dcsh_pg.imagery.scene import Scene, SceneRecord
from dcsh_pg.progress import SILENT, Progress

MEMORY_LIMIT = 2 << 30
"""Bytes above which the training set is kept in a file instead of in memory."""
WHOLE_SIZE = 256
"""Width and height in pixels to which whole pictures are resized."""
_READ_CHIPS = 64
_STATISTICS_IMAGES = 2000


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Images to learn from.

    Attributes:
        images: uint8 (N, S, S, C), in the order of the scenes; an array or a memory map.  Or
            embeddings float32 (N, dim).
        scenes: number of their scenes.
        skipped: number of chips skipped because too few of their pixels are valid.
        failed: why scenes could not be read.
        resolution: median ground size of a pixel in metres, or None where unknown.
        pooled: pixels of a side of a chip, of embeddings.
        embedding: how embeddings are made, for the model's card.
    """

    images: np.ndarray
    scenes: int
    skipped: int = 0
    failed: tuple[str, ...] = ()
    resolution: float | None = None
    pooled: int | None = None
    embedding: dict[str, Any] | None = None


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
        limit: largest number of chips, drawn without replacement by ``seed``; None takes all.
        scratch: folder for a training set too large for memory; None always uses memory.

    Raises:
        InputError: no scene could be read.
        TrainingError: no chip has enough valid pixels.
        OutputError: ``scratch`` cannot be written.
    """
    described, failed = _describe(scenes, progress)
    bands = Counter(listed(record.bands) for _, record in described if record.bands)
    if bands:
        progress.note(f"read {bands_taken(bands)}")
    counts = [len(record.windows) for _, record in described]
    chosen = _choose(sum(counts), limit, seed)
    parts = np.split(chosen, np.searchsorted(chosen, np.cumsum(counts)[:-1]))
    images: np.ndarray | None = None
    filled = skipped = used = 0
    progress.start("reading chips", len(chosen))
    for (scene, record), part, end in zip(described, parts, np.cumsum(counts), strict=True):
        windows = record.windows[part - (end - len(record.windows))]
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
                    images = _allocate((len(chosen), size, size, pixels.shape[3]), scratch)
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
    resolutions = [record.resolution for _, record in described if record.resolution]
    return TrainingSet(
        images[:filled],
        scenes=used,
        skipped=skipped,
        failed=tuple(failed),
        resolution=median(resolutions) if resolutions else None,
    )


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 (N, H, W, C) -> uint8 (N, size, size, C), bilinear and antialiased."""
    if pixels.shape[1:3] == (size, size):
        return pixels
    planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()
    resized = functional.interpolate(
        planes, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return resized.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def digest(images: np.ndarray) -> str:
    """SHA-256 over the images' shape and pixels, in hexadecimal."""
    sha = hashlib.sha256(repr(images.shape).encode())
    for image in images:
        sha.update(np.ascontiguousarray(image).data)
    return sha.hexdigest()


def band_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each band of images scaled to 0..1, over at most 2000."""
    step = max(1, len(images) // _STATISTICS_IMAGES)
    pixels = np.asarray(images[::step]).reshape(-1, images.shape[3])
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


def _choose(total: int, limit: int | None, seed: int) -> np.ndarray:
    """Sorted indices of the chips to take."""
    if limit is None or limit >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))


def _allocate(shape: tuple[int, ...], scratch: Path | None) -> np.ndarray:
    if scratch is None or np.prod(shape) <= MEMORY_LIMIT:
        return np.empty(shape, np.uint8)
    try:
        return np.lib.format.open_memmap(scratch / "images.npy", "w+", np.uint8, shape)
    except OSError as error:
        raise OutputError(
            f"cannot keep the training set in {scratch}: {error.strerror}",
            hint="choose another folder with --out, or fewer images with --limit",
        ) from error

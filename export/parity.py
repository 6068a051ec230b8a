"""The check that a model file gives the same codes as its hash function in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dcsh_pg import codes
from dcsh_pg.errors import ModelError
from dcsh_pg.export.graph import CodeGraph, TextGraph
from dcsh_pg.hasher import Hasher
from dcsh_pg.pixel_types import PixelRange, to_type
from dcsh_pg.progress import SILENT, Progress

TOLERANCE = {"float32": 1e-4, "float16": 3e-2}
"""Largest |z| of a bit that may differ, by the file's precision; relative to the root mean square
of z over the images of the check."""

BATCH = 8


@dataclass(frozen=True)
class Parity:
    """Outcome of the check.

    Attributes:
        images: images hashed by both.
        bits: bits compared.
        near_zero: of these, the ones with |z| under the tolerance, where either value is right.
        differing: of these, the ones that differ.
        tolerance: in units of z.
    """

    images: int
    bits: int
    near_zero: int
    differing: int
    tolerance: float


def check(
    hasher: Hasher,
    graph: CodeGraph | TextGraph,
    images: Sequence[np.ndarray],
    *,
    progress: Progress = SILENT,
) -> Parity:
    """Compares a model file, run by onnxruntime, with its graph in float32, run by PyTorch.

    Args:
        images: batches (N, H, W, C) of the model's type, of any sizes; or vectors float32 (N, dim), or
            tokens int64 (N, length).

    Raises:
        ModelError: a bit differs where |z| is not under the tolerance, z is not finite, or the
            packed code does not carry the signs of z.
    """
    progress.start("comparing with PyTorch", sum(map(len, images)))
    expected, found = [], []
    for images_of_a_size in images:
        for start in range(0, len(images_of_a_size), BATCH):
            batch = images_of_a_size[start : start + BATCH]
            with torch.inference_mode():
                expected.append(graph(torch.tensor(batch))[1].numpy())
            packed, z = hasher.hash_real(batch)
            if not np.array_equal(packed, codes.from_real(z)):
                raise ModelError(f"the codes of {hasher.card.name} are not the signs of its z")
            found.append(z)
            progress.advance(len(batch))
    z, z_found = np.concatenate(expected), np.concatenate(found)
    if not (np.isfinite(z).all() and np.isfinite(z_found).all()):
        raise ModelError(
            f"the hash function {hasher.card.name} gives values that are not finite",
            hint="train it again with a lower learning rate, or export it without --float16",
        )
    tolerance = TOLERANCE[hasher.card.precision] * float(np.sqrt(np.mean(np.square(z))))
    differs, near_zero = (z >= 0) != (z_found >= 0), np.abs(z) < tolerance
    if (differs & ~near_zero).any():
        raise ModelError(
            f"{np.count_nonzero(differs & ~near_zero)} of {z.size} bits of {hasher.card.name} "
            f"differ between PyTorch and onnxruntime though |z| is over {tolerance:.2g}",
            hint="export it without --float16, or with another version of onnxruntime",
        )
    return Parity(
        images=len(z),
        bits=z.size,
        near_zero=int(near_zero.sum()),
        differing=int(differs.sum()),
        tolerance=float(f"{tolerance:.3g}"),
    )


def synthetic_vectors(dim: int) -> list[np.ndarray]:
    """One batch float32 (64, dim) for a check without embeddings, always the same."""
    return [np.random.default_rng(0).standard_normal((64, dim), np.float32)]


def synthetic_images(
    bands: int, chip_size: int, pixels: PixelRange = PixelRange()
) -> list[np.ndarray]:
    """Batches (N, H, W, bands) of a type for a check without imagery, always the same.

    Plain tones, noise, and smooth fields with edges; at the size of the chips, and at another size
    that is not square.  Of another type than uint8 they go a little beyond its range, and a part
    of each image is invalid.
    """
    batches = _synthetic_bytes(bands, chip_size)
    return [_typed(images, pixels) for images in batches] if pixels.is_typed else batches


def _typed(images: np.ndarray, pixels: PixelRange) -> np.ndarray:
    low, high = np.array(pixels.low), np.array(pixels.high)
    valid = np.ones(images.shape[:3], bool)
    valid[:, : images.shape[1] // 5, images.shape[2] // 2 :] = False
    values = low + (images / 255 * 1.1 - 0.05) * (high - low)
    return to_type(values, valid, pixels.dtype)[0]


def _synthetic_bytes(bands: int, chip_size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        np.concatenate(
            [
                np.full((1, height, width, bands), 128, np.uint8),
                rng.integers(0, 256, (3, height, width, bands), dtype=np.uint8),
                *(_field(rng, height, width, bands) for _ in range(8)),
            ]
        )
        for height, width in (
            (chip_size, chip_size),
            (chip_size // 2 + 5, (chip_size // 3 + 4) | 1),
        )
    ]


def _field(rng: np.random.Generator, height: int, width: int, bands: int) -> np.ndarray:
    """A sum of waves with stretched contrast and an edge of random height."""
    y, x = np.mgrid[0:height, 0:width][..., None] / max(height, width)
    wave = sum(
        np.sin(2 * np.pi * (fx * x + fy * y) + rng.uniform(0, 2 * np.pi, bands)) / (1 + fx + fy)
        for fx, fy in rng.integers(0, 12, (6, 2))
    )
    wave = wave + rng.uniform(-1, 1, bands) * (x + y > rng.uniform(0.3, 1.2))
    low, high = wave.min(), wave.max()
    pixels: np.ndarray = ((wave - low) / (high - low) * 255).astype(np.uint8)
    return pixels[None]

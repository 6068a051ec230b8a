"""Small pictures of several kinds, and an encoder whose features are known exactly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.pixel_types import PixelRange


def pictures(count: int = 60, size: int = 24, kinds: int = 6, seed: int = 0) -> np.ndarray:
    """Waves of one direction, length and colour a kind, with noise: uint8 (count, size, size, 3)."""
    random = np.random.default_rng(seed)
    directions = random.uniform(0, np.pi, kinds)
    lengths = random.uniform(3, 12, kinds)
    colours = random.uniform(40, 160, (kinds, 3))
    kind = np.arange(count) % kinds
    rows, columns = np.mgrid[:size, :size]
    along = (
        np.cos(directions)[kind, None, None] * rows + np.sin(directions)[kind, None, None] * columns
    )
    phase = random.uniform(0, 2 * np.pi, (count, 1, 1))
    waves = 40 * np.sin(2 * np.pi * along / lengths[kind, None, None] + phase)
    noise = random.normal(0, 20, (count, size, size, 3))
    return np.clip(colours[kind][:, None, None] + waves[..., None] + noise, 0, 255).astype(np.uint8)


class PixelEncoder(nn.Module):
    """Features are the 48 values of a picture of 4 x 4 pixels, 0 to 1, times a matrix."""

    name, bands, input_size = "pixels", 3, 4
    mean, std, pixels = (0.0,) * 3, (1.0,) * 3, PixelRange()

    def __init__(self, matrix: np.ndarray | None = None):
        super().__init__()
        matrix = np.eye(48) if matrix is None else matrix
        self.register_buffer("matrix", torch.from_numpy(matrix).float())
        self.dim = matrix.shape[1]

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.matrix


def tiny(count: int = 60, seed: int = 0) -> np.ndarray:
    """Pictures for ``PixelEncoder``."""
    return pictures(count, size=4, seed=seed)


def flat(images: np.ndarray) -> np.ndarray:
    """``PixelEncoder``'s features of them, float64 (N, 48)."""
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1) / 255


def unit(images: np.ndarray) -> np.ndarray:
    """``PixelEncoder``'s features of them, scaled to unit length, float64 (N, 48)."""
    return flat(images) / np.linalg.norm(flat(images), axis=1, keepdims=True)


def rotation(seed: int = 0) -> np.ndarray:
    """A random rotation of the features."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(48, 48)))[0]


@torch.no_grad()
def z_of(hash_function: HashFunction, images: np.ndarray) -> np.ndarray:
    """z, float32 (N, bits), of uint8 images."""
    return hash_function(hash_function.preprocess()(torch.from_numpy(images))).numpy()


def ones(hash_function: HashFunction, images: np.ndarray) -> np.ndarray:
    """Share of the images for which each bit is 1, (bits,)."""
    return (z_of(hash_function, images) >= 0).mean(axis=0)

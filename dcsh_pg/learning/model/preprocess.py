"""Images as a raster stores them -> the encoder's input.

Training runs this module and the exported ONNX graph contains it, so that a query, an archive and
the training set are all preprocessed alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.learning.encoders.encoder import ImageEncoder


class Preprocess(nn.Module):
    """uint8 (N, H, W, C) of any H and W -> float32 (N, C, S, S), scaled to 0..1 and standardised.

    Resizes with bilinear interpolation, antialiased when it shrinks, as Pillow and torchvision do.

    Args:
        input_size: S, the encoder's input in pixels.
        mean, std: per band, of images scaled to 0..1.
    """

    mean: Tensor
    std: Tensor
    if TYPE_CHECKING:

        def __call__(self, images: Tensor) -> Tensor: ...

    def __init__(self, input_size: int, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.input_size = input_size
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))

    @classmethod
    def of(cls, encoder: ImageEncoder) -> Preprocess:
        """The preprocessing that gives this encoder's input."""
        return cls(encoder.input_size, encoder.mean, encoder.std)

    def scale(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, C) -> float32 (N, C, S, S) in 0..1: what augmentations work on."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        resized = functional.interpolate(
            pixels,
            size=(self.input_size, self.input_size),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        return resized / 255.0

    def standardise(self, scaled: Tensor) -> Tensor:
        """Float (N, C, S, S) in 0..1 -> zero mean and unit variance over the training images."""
        return (scaled - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        return self.standardise(self.scale(images))

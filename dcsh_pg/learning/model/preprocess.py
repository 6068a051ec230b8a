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
from dcsh_pg.pixel_types import NODATA, PixelRange


class Preprocess(nn.Module):
    """Images (N, H, W, C) of any H and W -> float32 (N, C, S, S), scaled to 0..1 and standardised.

    Resizes with bilinear interpolation, antialiased when it shrinks, as Pillow and torchvision do.
    Invalid pixels of images of another type than uint8 get the mean of each band first.

    Args:
        input_size: S, the encoder's input in pixels.
        mean, std: per band, of images scaled to 0..1.
        pixels: their type, and the values that are 0 and 1; values beyond become these.
    """

    mean: Tensor
    std: Tensor
    starts: Tensor
    spans: Tensor
    if TYPE_CHECKING:

        def __call__(self, images: Tensor) -> Tensor: ...

    def __init__(
        self,
        input_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        pixels: PixelRange = PixelRange(),
    ):
        super().__init__()
        self.input_size, self.pixels = input_size, pixels
        constants = {"mean": mean, "std": std}
        for name, values in constants.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1))
        if pixels.is_typed:  # (M + 1, C, 1, 1), one row for each straight line
            points = torch.tensor(pixels.points.T, dtype=torch.float32)[..., None, None]
            self.register_buffer("starts", points[:-1].contiguous())
            self.register_buffer("spans", points.diff(dim=0))

    @classmethod
    def of(cls, encoder: ImageEncoder) -> Preprocess:
        """The preprocessing that gives this encoder's input."""
        return cls(encoder.input_size, encoder.mean, encoder.std, encoder.pixels)

    def scale(self, images: Tensor) -> Tensor:
        """Images (N, H, W, C) -> float32 (N, C, S, S) in 0..1: what augmentations work on."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        if self.pixels.is_typed:
            return self._resized(self._filled(pixels))
        return self._resized(pixels) / 255.0

    def _filled(self, pixels: Tensor) -> Tensor:
        """Float32 (N, C, H, W) in the units of the images -> 0..1, invalid pixels the mean."""
        nodata = NODATA[self.pixels.dtype]
        if nodata is None:
            valid = torch.isfinite(pixels).all(dim=1, keepdim=True)
        else:
            valid = (pixels != nodata).any(dim=1, keepdim=True)
        scaled = torch.zeros_like(pixels)
        for start, span in zip(self.starts, self.spans, strict=True):
            scaled = scaled + ((pixels - start) / span).clamp(0, 1)
        return torch.where(valid, scaled / len(self.starts), self.mean)

    def _resized(self, pixels: Tensor) -> Tensor:
        return functional.interpolate(
            pixels,
            size=(self.input_size, self.input_size),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )

    def standardise(self, scaled: Tensor) -> Tensor:
        """Float (N, C, S, S) in 0..1 -> zero mean and unit variance over the training images."""
        return (scaled - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        return self.standardise(self.scale(images))

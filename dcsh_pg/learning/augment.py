"""Random views of images: DCSH's five augmentations, and orientation for imagery from above."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_GREY = torch.tensor([0.299, 0.587, 0.114])
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@dataclass(frozen=True)
class Augmentation:
    """A random view of each image of a batch, every image with its own draw.

    The paper names the operations and their order (section 3.1): crop and resize, horizontal
    flip, colour jitter, greyscale, Gaussian blur.  It gives no strengths; these are CIBHash's,
    whose architecture and temperature it shares.  Imagery seen from above has no up, so a
    vertical flip and rotations by right angles are added; ``rotations=False`` is the paper's
    literal list.

    All draws come from the caller's generator, on the CPU, so that a run can be repeated and
    resumed and sees the same views on every device.

    Attributes:
        crop_area: share of the image's area that is kept, drawn uniformly.
        crop_ratio: width to height of the crop, drawn log-uniformly.
        rotations: vertical flip and rotation by 0, 90, 180 or 270 degrees.
        brightness, contrast, saturation: factors are drawn from 1 +- this.
        hue: angle on the colour circle is drawn from +- this, in turns.
        jitter_probability, grey_probability, blur_probability: shares of images affected.
        blur_sigma: of a 3 x 3 kernel, in pixels, drawn uniformly.
    """

    crop_area: tuple[float, float] = (0.5, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    rotations: bool = True
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    jitter_probability: float = 0.7
    grey_probability: float = 0.2
    blur_probability: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Float (N, C, S, S) in 0..1 -> a view of each, the same shape and range.

        Saturation, hue and greyscale need red, green and blue, and leave images of other band
        counts alone; brightness and contrast act on any.
        """
        draw = _Draw(len(images), generator)
        views = self._place(images, draw)
        views = self._colour(views, draw).clamp(0, 1)
        return self._blur(views, draw)

    def _place(self, images: Tensor, draw: _Draw) -> Tensor:
        """Crop, flips and rotation in one resampling."""
        area = draw.uniform(*self.crop_area)
        ratio = draw.uniform(*map(math.log, self.crop_ratio)).exp()
        width = (area * ratio).sqrt().clamp(max=1)
        height = (area / ratio).sqrt().clamp(max=1)
        x = draw.uniform(-1, 1) * (1 - width)
        y = draw.uniform(-1, 1) * (1 - height)
        mirrored = 1 - 2 * draw.happens(0.5).float()
        flipped, turns = torch.ones_like(x), torch.zeros_like(x)
        if self.rotations:
            flipped = 1 - 2 * draw.happens(0.5).float()
            turns = draw.uniform(0, 4).floor()
        cosine, sine = (turns * math.pi / 2).cos().round(), (turns * math.pi / 2).sin().round()
        theta = torch.stack(
            [
                torch.stack([width * mirrored * cosine, -width * mirrored * sine, x], dim=1),
                torch.stack([height * flipped * sine, height * flipped * cosine, y], dim=1),
            ],
            dim=1,
        ).to(images)
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def _colour(self, images: Tensor, draw: _Draw) -> Tensor:
        """Jitter and greyscale: one affine map of the colours for each image."""
        jittered = draw.happens(self.jitter_probability)
        grey = draw.happens(self.grey_probability)
        brightness, contrast, saturation = (
            torch.where(jittered, draw.uniform(1 - strength, 1 + strength), 1.0)
            for strength in (self.brightness, self.contrast, self.saturation)
        )
        hue = torch.where(jittered, draw.uniform(-self.hue, self.hue), 0.0)

        def each(values: Tensor) -> Tensor:
            return values.to(images)[:, None, None, None]

        natural = images.shape[1] == 3
        level = torch.einsum("c,nchw->nhw", _GREY.to(images), images) if natural else images
        level = level.mean(dim=tuple(range(1, level.ndim)))
        images = each(brightness * contrast) * images
        images = images + each(brightness * (1 - contrast)) * level[:, None, None, None]
        if not natural:
            return images
        colours = _hue_rotation(hue)
        mixed = torch.where(grey, 0.0, saturation)[:, None, None]
        to_grey = _GREY.expand(3, 3)
        colours = (mixed * torch.eye(3) + (1 - mixed) * to_grey) @ colours
        return torch.einsum("ndc,nchw->ndhw", colours.to(images), images)

    def _blur(self, images: Tensor, draw: _Draw) -> Tensor:
        blurred = draw.happens(self.blur_probability)
        side = torch.exp(-0.5 / draw.uniform(*self.blur_sigma).square())
        side = torch.where(blurred, side / (1 + 2 * side), 0.0).to(images)[:, None, None, None]
        padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
        rows = side * (padded[:, :, :-2] + padded[:, :, 2:]) + (1 - 2 * side) * padded[:, :, 1:-1]
        return side * (rows[..., :-2] + rows[..., 2:]) + (1 - 2 * side) * rows[..., 1:-1]


class _Draw:
    """Random numbers, one for each image."""

    def __init__(self, images: int, generator: torch.Generator):
        self.images, self.generator = images, generator

    def uniform(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(self.images, generator=self.generator)

    def happens(self, probability: float) -> Tensor:
        return torch.rand(self.images, generator=self.generator) < probability


def _hue_rotation(turns: Tensor) -> Tensor:
    """Turns of the colour circle (N,) -> RGB matrices (N, 3, 3) that rotate chroma in YIQ."""
    cosine, sine = (2 * math.pi * turns).cos(), (2 * math.pi * turns).sin()
    zero, one = torch.zeros_like(turns), torch.ones_like(turns)
    rotation = torch.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], dim=1)
    return torch.linalg.inv(_YIQ) @ rotation.view(-1, 3, 3) @ _YIQ

"""Random views of images: DCSH's five augmentations, and right-angle rotations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dcsh_pg.learning.model.device import send

_TRIES = 10
_GREY = torch.tensor([0.299, 0.587, 0.114])
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FROM_YIQ = torch.linalg.inv(_YIQ)


@dataclass(frozen=True)
class Augmentation:
    """A random view of each image of a batch, drawn for every image separately.

    The paper names the operations and their order (section 3.1): crop and resize, horizontal
    flip, colour jitter, greyscale, Gaussian blur.  It gives no strengths; these are CIBHash's,
    whose architecture and temperature it shares.  Imagery seen from above has no up, so a
    vertical flip and rotations by right angles are added; ``rotations=False`` is the paper's
    literal list.

    All random numbers come from the caller's generator, on the CPU, so that a run can be repeated
    and resumed and has the same views on every device.  Each image's parameters are computed there
    too and sent in one transfer; pixels are changed on the images' device, without waiting for it.

    Attributes:
        crop_area: fraction of the image's area that is kept, drawn uniformly.
        crop_ratio: width to height of the crop, drawn log-uniformly.
        rotations: vertical flip and rotation by 0, 90, 180 or 270 degrees.
        brightness, contrast, saturation: factors are drawn from 1 +- this.
        hue: angle on the colour circle is drawn from +- this, in turns.
        jitter_probability, grey_probability, blur_probability: fractions of the images affected.
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
        parts = (
            self._draw_place(len(images), generator),
            *self._draw_colour(len(images), generator),
            self._draw_blur(len(images), generator),
        )
        sizes = [math.prod(part.shape[1:]) for part in parts]
        sent = send(torch.cat([part.flatten(1) for part in parts], dim=1), images.device)
        place, tone, colours, side = (
            values.reshape(part.shape).to(images.dtype)
            for values, part in zip(sent.split(sizes, dim=1), parts, strict=True)
        )
        return _blur(_colour(_place(images, place), tone, colours).clamp_(0, 1), side)

    def _draw_place(self, count: int, generator: torch.Generator) -> Tensor:
        """Crop, flips and rotation as one affine map of coordinates for each view, (N, 2, 3)."""
        width, height = self._draw_crop(count, generator)
        x, y, mirrored, flipped, turns = torch.rand(5, count, generator=generator)
        x = _between(x, -1, 1) * (1 - width)
        y = _between(y, -1, 1) * (1 - height)
        mirrored = torch.where(mirrored < 0.5, -1.0, 1.0)
        flipped = torch.where((flipped < 0.5) & self.rotations, -1.0, 1.0)
        angle = (4 * turns).floor() * (math.pi / 2 * self.rotations)
        cosine, sine = angle.cos().round(), angle.sin().round()
        return torch.stack(
            [
                torch.stack([width * mirrored * cosine, -width * mirrored * sine, x], dim=1),
                torch.stack([height * flipped * sine, height * flipped * cosine, y], dim=1),
            ],
            dim=1,
        )

    def _draw_crop(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Width and height of each crop, (N,), 1 is the image's side.

        As torchvision's RandomResizedCrop: a crop that does not fit is drawn again, ten times at
        most, and then is the whole image.
        """
        area, ratio = torch.rand(2, _TRIES, count, generator=generator)
        area = _between(area, *self.crop_area)
        ratio = _between(ratio, *map(math.log, self.crop_ratio)).exp()
        sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()])
        fits = (sides <= 1).all(dim=0)
        first = sides.gather(1, fits.int().argmax(dim=0).expand(2, 1, count))[:, 0]
        width, height = first.where(fits.any(dim=0), 1.0)
        return width, height

    def _draw_colour(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Jitter and greyscale: factor and fraction of the mean level (N, 2), map of RGB (N, 3, 3)."""
        jittered, grey, brightness, contrast, saturation, hue = torch.rand(
            6, count, generator=generator
        )
        jittered = jittered < self.jitter_probability
        brightness, contrast, saturation = (
            torch.where(jittered, _between(drawn, 1 - strength, 1 + strength), 1.0)
            for drawn, strength in (
                (brightness, self.brightness),
                (contrast, self.contrast),
                (saturation, self.saturation),
            )
        )
        hue = torch.where(jittered, _between(hue, -self.hue, self.hue), 0.0)
        tone = torch.stack([brightness * contrast, brightness * (1 - contrast)], dim=1)
        mixed = torch.where(grey < self.grey_probability, 0.0, saturation)[:, None, None]
        desaturation = mixed * torch.eye(3) + (1 - mixed) * _GREY.expand(3, 3)
        return tone, desaturation @ _hue_rotation(hue)

    def _draw_blur(self, count: int, generator: torch.Generator) -> Tensor:
        """Weight of either neighbour in a kernel of three, (N, 1); 0 is no blur."""
        blurred, sigma = torch.rand(2, count, generator=generator)
        side = torch.exp(-0.5 / _between(sigma, *self.blur_sigma).square())
        side = side / (1 + 2 * side)
        return torch.where(blurred < self.blur_probability, side, 0.0)[:, None]


def _between(drawn: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * drawn


def _hue_rotation(turns: Tensor) -> Tensor:
    """Turns of the colour circle (N,) -> RGB matrices (N, 3, 3) that rotate chroma in YIQ."""
    cosine, sine = (2 * math.pi * turns).cos(), (2 * math.pi * turns).sin()
    zero, one = torch.zeros_like(turns), torch.ones_like(turns)
    rotation = torch.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], dim=1)
    rgb: Tensor = _FROM_YIQ @ rotation.view(-1, 3, 3) @ _YIQ
    return rgb


def _place(images: Tensor, theta: Tensor) -> Tensor:
    """One resampling of (N, C, S, S), by affine maps (N, 2, 3)."""
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _colour(images: Tensor, tone: Tensor, colours: Tensor) -> Tensor:
    """Each pixel times a factor plus a fraction of the image's mean, then mapped by ``colours``."""
    pixels = images.flatten(2)
    factor, share = tone[:, :1, None], tone[:, 1:, None]
    means = pixels.mean(dim=2, keepdim=True)
    if images.shape[1] != 3:
        level = means.mean(dim=1, keepdim=True)
        return torch.addcmul(share * level, pixels, factor).view_as(images)
    level = share * _luma(means)
    return torch.baddbmm(colours @ level.expand(-1, 3, -1), factor * colours, pixels).view_as(
        images
    )


def _luma(colours: Tensor) -> Tensor:
    """RGB (N, 3, P) -> (N, 1, P)."""
    red, green, blue = (weight * colours[:, k : k + 1] for k, weight in enumerate(_GREY.tolist()))
    luma: Tensor = red + green + blue
    return luma


def _blur(images: Tensor, side: Tensor) -> Tensor:
    """Smooths rows and columns of (N, C, S, S) with kernels (side, 1 - 2 side, side)."""
    side = side[..., None, None]
    for dim in (2, 3):
        inner = images.shape[dim] - 1
        smooth = images * (1 - 2 * side)
        smooth.narrow(dim, 1, inner).addcmul_(images.narrow(dim, 0, inner), side)
        smooth.narrow(dim, 0, inner).addcmul_(images.narrow(dim, 1, inner), side)
        for edge in (0, inner):
            smooth.narrow(dim, edge, 1).addcmul_(images.narrow(dim, edge, 1), side)
        images = smooth
    return images

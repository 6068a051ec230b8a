"""A small network for training without pretrained weights."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from dcsh_pg.learning.encoders.architecture import Architecture
from dcsh_pg.learning.encoders.bands import with_bands


class SmallNet(nn.Module):
    """A convolutional network that trains from scratch in a minute or two on two CPU cores.

    Three scales, each two 3 x 3 convolutions with BatchNorm; the means of all scales are the
    features, so that colour and fine texture count beside shape.
    """

    WIDTHS = (32, 64, 128)

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([_convolution(3, self.WIDTHS[0], kernel=5, stride=2)])
        for before, width in itertools.pairwise(self.WIDTHS):
            self.stages.append(
                nn.Sequential(_convolution(before, width, stride=2), _convolution(width, width))
            )

    def forward(self, images: Tensor) -> Tensor:
        means = []
        for stage in self.stages:
            images = stage(images)
            means.append(images.mean(dim=(2, 3)))
        return torch.cat(means, dim=1)

    def maps(self, images: Tensor) -> Tensor:
        """Output of the last stage, (N, 128, S / 8, S / 8)."""
        for stage in self.stages:
            images = stage(images)
        return images


def _convolution(before: int, width: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


ENCODERS = {
    "small": Architecture(
        lambda bands: with_bands(SmallNet(), bands),
        dim=sum(SmallNet.WIDTHS),
        input_size=64,
        maps=lambda network, images: network.maps(images),
        default_weights="none",
    )
}

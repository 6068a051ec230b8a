"""VGG16 of torchvision up to one of its hidden fully connected layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from dcsh_pg.learning.encoders.architecture import Architecture
from dcsh_pg.learning.encoders.bands import with_bands

if TYPE_CHECKING:
    from torchvision.models import VGG


def _vgg16(layers: int) -> VGG:
    """VGG16 with this many layers of its classifier, and without dropout."""
    from torchvision.models import vgg16

    network = vgg16()
    kept = network.classifier[:layers]
    network.classifier = nn.Sequential(
        *(nn.Identity() if isinstance(layer, nn.Dropout) else layer for layer in kept)
    )
    return network


def _maps(network: VGG, images: Tensor) -> Tensor:
    """The output of pool5."""
    maps: Tensor = network.features(images)
    return maps


ENCODERS = {
    "vgg16-fc6": Architecture(
        lambda bands: with_bands(_vgg16(layers=2), bands),
        dim=4096,
        maps=_maps,
        imagenet="vgg16",
        cut=("classifier.3.", "classifier.6."),
    ),
    "vgg16-fc7": Architecture(
        lambda bands: with_bands(_vgg16(layers=5), bands),
        dim=4096,
        maps=_maps,
        imagenet="vgg16",
        cut=("classifier.6.",),
    ),
}

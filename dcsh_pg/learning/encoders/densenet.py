"""DenseNet-169 of torchvision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.learning.encoders.architecture import Architecture
from dcsh_pg.learning.encoders.bands import with_bands

if TYPE_CHECKING:
    from torchvision.models import DenseNet


def _densenet169() -> DenseNet:
    from torchvision.models import densenet169

    network = densenet169()
    network.classifier = nn.Identity()
    return network


def _maps(network: DenseNet, images: Tensor) -> Tensor:
    """The last block after its BatchNorm and ReLU, which is then pooled."""
    return functional.relu(network.features(images))


ENCODERS = {
    "densenet169": Architecture(
        lambda bands: with_bands(_densenet169(), bands),
        dim=1664,
        maps=_maps,
        imagenet="densenet169",
        cut=("classifier.",),
    )
}

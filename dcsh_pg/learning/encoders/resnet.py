"""Residual networks of torchvision, whole and cut before the last stage.

torchvision takes longer to import than torch; it is imported where a network of it is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from dcsh_pg.learning.encoders.architecture import Architecture
from dcsh_pg.learning.encoders.bands import with_bands

if TYPE_CHECKING:
    from torchvision.models import ResNet


def _resnet18() -> ResNet:
    from torchvision.models import resnet18

    network = resnet18()
    network.fc = nn.Identity()
    return network


def _resnet50() -> ResNet:
    from torchvision.models import resnet50

    network = resnet50()
    network.fc = nn.Identity()
    return network


def _resnet50_layer3() -> ResNet:
    network = _resnet50()
    network.layer4 = nn.Identity()
    return network


def _resnet50_v1_layer3() -> ResNet:
    """The original (Caffe, Keras) variant: a stage's stride is in its first 1 x 1 convolution."""
    network = _resnet50_layer3()
    for stage in (network.layer2, network.layer3):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return network


def _maps(network: ResNet, images: Tensor) -> Tensor:
    """Output of the last stage."""
    x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    maps: Tensor = network.layer4(network.layer3(network.layer2(network.layer1(x))))
    return maps


ENCODERS = {
    "resnet18": Architecture(
        lambda bands: with_bands(_resnet18(), bands),
        dim=512,
        maps=_maps,
        imagenet="resnet18",
        cut=("fc.",),
    ),
    "resnet50": Architecture(
        lambda bands: with_bands(_resnet50(), bands),
        dim=2048,
        maps=_maps,
        imagenet="resnet50",
        cut=("fc.",),
    ),
    "resnet50-layer3": Architecture(
        lambda bands: with_bands(_resnet50_layer3(), bands),
        dim=1024,
        maps=_maps,
        imagenet="resnet50",
        cut=("fc.", "layer4."),
    ),
    "resnet50-v1-layer3": Architecture(
        lambda bands: with_bands(_resnet50_v1_layer3(), bands),
        dim=1024,
        maps=_maps,
        cut=("fc.", "layer4."),
    ),
}

"""Encoders by name."""

from __future__ import annotations

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import densenet, from_timm, gist, resnet, small, vgg
from dcsh_pg.learning.encoders.architecture import Architecture

_ARCHITECTURES = {
    "small": small.SMALL,
    "resnet18": resnet.RESNET18,
    "resnet50": resnet.RESNET50,
    "resnet50-layer3": resnet.RESNET50_LAYER3,
    "resnet50-v1-layer3": resnet.RESNET50_V1_LAYER3,
    "densenet169": densenet.DENSENET169,
    "vgg16-fc6": vgg.VGG16_FC6,
    "vgg16-fc7": vgg.VGG16_FC7,
    "gist": gist.GIST,
    "dinov2_vits14": from_timm.DINOV2_VITS14,
    "dinov2_vitb14": from_timm.DINOV2_VITB14,
}

NAMES = tuple(_ARCHITECTURES)
"""Besides these, ``timm:NAME`` is any model of timm."""


def find(name: str) -> Architecture:
    """The architecture of an encoder.

    Raises:
        UsageError: no encoder has that name, or timm, which has it, is not installed.
    """
    if name.startswith(from_timm.PREFIX):
        return from_timm.find(name.removeprefix(from_timm.PREFIX))
    if name not in _ARCHITECTURES:
        raise UsageError(
            f"no encoder is called {name!r}",
            hint=f"one of: {', '.join(NAMES)}; or {from_timm.PREFIX}NAME, a model of timm",
        )
    return _ARCHITECTURES[name]

"""Encoders of torchgeo: ResNets and ViTs that learned from Sentinel-2, Landsat and other imagery.

``torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO`` is named as torchgeo names its weights.  torchgeo is
imported only when one is chosen; the extra ``torchgeo`` installs it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import Tensor, nn

from dcsh_pg.errors import UsageError
from dcsh_pg.extras import requires
from dcsh_pg.learning.encoders.architecture import Architecture

PREFIX = "torchgeo:"
REFLECTANCE = 10_000
"""Value of Sentinel-2 and Landsat that is a reflectance of 1: of imagery of 8 bits, 255."""
_ABSENT = ("norm.weight", "norm.bias")
"""Weights that torchgeo's files of ViTs may lack; the network starts with the identity."""
_PREFIXES = ("", "module.encoder_q.", "module.base_encoder.", "module.backbone.", "backbone.")
"""Of the weights in torchgeo's files, and in those of SSL4EO-S12 that they are made from."""


def find(name: str) -> Architecture:
    """The network of some of torchgeo's weights; ``name`` is without the prefix.

    Raises:
        UsageError: torchgeo is not installed, has no such weights, or they are not of a timm network.
    """
    models = _models(PREFIX + name)
    try:
        weights: Any = models.get_weight(name)
    except (ValueError, KeyError, AttributeError):
        raise UsageError(
            f"torchgeo has no weights {name!r}",
            hint="for example torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO; python -c 'import "
            "torchgeo.models as m; print(*m.list_models())' lists its networks",
        ) from None
    meta = weights.meta
    mean, std = _normalisation(weights.transforms, meta.get("in_chans", 0))
    if not mean or not meta["model"].startswith(("resnet", "vit_")):
        raise UsageError(
            f"{name} is not a ResNet or ViT that takes plain images",
            hint="export it to ONNX, and give --encoder onnx:FILE",
        )

    def build(bands: int) -> nn.Module:
        if bands != meta["in_chans"]:
            raise UsageError(
                f"{name} takes images of {meta['in_chans']} bands, these have {bands}",
                hint=f"choose them in this order with --bands: {', '.join(meta['bands'])}",
            )
        network: nn.Module = models.get_model(meta["model"], in_chans=bands, num_classes=0)
        return network

    full = 255 if max(std) == 255 else REFLECTANCE
    return Architecture(
        build,
        dim=None,
        cut=("fc.", "head.", "projection_head.", "predictor."),
        mean=tuple(value / full for value in mean),
        std=tuple(value / full for value in std),
        stored=(mean, std),
        rename=_rename,
        download=lambda: dict(weights.get_state_dict(progress=False)),
    )


def _normalisation(
    transforms: Any, bands: int
) -> tuple[tuple[float, ...] | None, tuple[float, ...]]:
    """Mean and standard deviation of each band, of values as they are stored."""
    for step in transforms.modules():
        mean, std = getattr(step, "mean", None), getattr(step, "std", None)
        if type(step).__name__ == "Normalize" and mean is not None and std is not None:
            means, stds = ([float(v) for v in values] for values in (mean, std))
            repeat = bands if len(means) == 1 else 1
            return tuple(means * repeat), tuple(stds * repeat)
    return None, ()


def _rename(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict as ``network`` names it."""
    own = network.state_dict()
    prefix = max(_PREFIXES, key=lambda prefix: sum(prefix + key in state for key in own))
    named = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
    for key in _ABSENT:
        if key in own:
            named.setdefault(key, own[key])
    return named


def _models(encoder: str) -> ModuleType:
    with requires("torchgeo", f"use the encoder {encoder}", UsageError):
        from torchgeo import models
    found: ModuleType = models
    return found

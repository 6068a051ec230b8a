"""Encoders of timm: DINOv2, which was trained without labels, and any other model by its name.

timm is imported only when one of them is chosen; the extra ``encoders`` installs it.
"""

from __future__ import annotations

from types import ModuleType

from torch import Tensor, nn

from dcsh_pg.errors import UsageError
from dcsh_pg.extras import requires
from dcsh_pg.learning.encoders.architecture import Architecture

PREFIX = "timm:"

HINT = "pip install 'dcsh-pg[encoders]'"
"""The hint where a library is missing."""


def find(name: str) -> Architecture:
    """A model of timm without its classifier; ``name`` is without the prefix.

    Raises:
        UsageError: timm is not installed, or has no such model.
    """
    timm = _timm(PREFIX + name)
    try:
        config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError:  # the model exists, but not with this tag
        config = None
    if config is None:
        raise UsageError(
            f"timm {timm.__version__} has no model {name!r}",
            hint="python -c 'import timm; print(timm.list_models())' lists them",
        )
    classifiers = (config.classifier,) if isinstance(config.classifier, str) else config.classifier
    return Architecture(
        lambda bands: timm.create_model(name, num_classes=0, in_chans=bands),
        dim=None,
        input_size=config.input_size[-1],
        timm=name,
        cut=tuple(f"{classifier}." for classifier in classifiers or ()),
        mean=config.mean,
        std=config.std,
    )


def download(name: str) -> dict[str, Tensor]:
    """The published state dict of a model, through timm's own cache.

    Raises:
        OSError, RuntimeError: there is none, or it cannot be downloaded.
    """
    state: dict[str, Tensor] = _timm(PREFIX + name).create_model(name, pretrained=True).state_dict()
    return state


def own_naming(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict as ``network`` names and shapes it.

    For vision transformers: the authors' names become timm's, and the position embedding is
    interpolated to the network's own grid.
    """
    from timm.models import vision_transformer

    if isinstance(network, vision_transformer.VisionTransformer):
        return vision_transformer.checkpoint_filter_fn(dict(state), network)
    return state


def _timm(encoder: str) -> ModuleType:
    with requires("encoders", f"use the encoder {encoder}", UsageError):
        import timm
    return timm


def _dinov2(name: str, model: str, dim: int) -> Architecture:
    """The class token after the last norm, for 224 px in 16 x 16 patches of 14 px."""

    def build(bands: int) -> nn.Module:
        network: nn.Module = _timm(name).create_model(
            model, num_classes=0, in_chans=bands, img_size=224
        )
        return network

    return Architecture(build, dim=dim, timm=model)


ENCODERS = {
    "dinov2_vits14": _dinov2("dinov2_vits14", "vit_small_patch14_dinov2", dim=384),
    "dinov2_vitb14": _dinov2("dinov2_vitb14", "vit_base_patch14_dinov2", dim=768),
}

"""Weights for an encoder: random, published or from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcsh_pg.errors import InputError, ModelError, UsageError
from dcsh_pg.learning.encoders import from_timm
from dcsh_pg.learning.encoders.architecture import Architecture
from dcsh_pg.learning.encoders.bands import repeat_bands
from dcsh_pg.learning.encoders.encoder import Encoder

PUBLISHED = ("pretrained", "imagenet")
"""Names of an encoder's published weights; the second only where they are of ImageNet."""


def load_weights(encoder: Encoder, weights: str) -> None:
    """Gives an encoder its weights, in place.

    Args:
        weights: 'none' keeps the random ones; 'pretrained' downloads the published ones of this
            encoder, and so does 'imagenet' where those are of ImageNet.  Anything else is a file
            with a state dict of the torchvision or timm network, or of DINOv2 as its authors
            publish it (also float16 and safetensors).  Where the encoder does not take three
            bands, those of the first convolution are repeated over its bands.

    Raises:
        InputError: the file cannot be read, or the download failed.
        ModelError: the weights are not those of this network.
        UsageError: there are no such weights for this network.
    """
    if weights == "none":
        return
    architecture = encoder.architecture
    if not architecture.learned:
        raise UsageError(f"the encoder {encoder.name} takes no weights", hint="omit --weights")
    if weights in PUBLISHED:
        state, source = _download(encoder.name, architecture, weights), "the download"
    else:
        state, source = _read_state(Path(weights)), weights
    if architecture.rename:
        state = architecture.rename(encoder.body, state)
    cut = architecture.cut
    state = {key: value.float() for key, value in state.items() if not key.startswith(cut)}
    if architecture.timm:
        state = from_timm.own_naming(encoder.body, state)
    state = repeat_bands(state, encoder.body, encoder.bands)
    try:
        missing, unexpected = encoder.body.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ModelError(
            f"{source} does not fit the encoder {encoder.name}: {str(error).splitlines()[-1].strip()}",
            hint="choose the encoder of these weights with --encoder",
        ) from None
    if missing or unexpected:
        what = f"lacks {_some(missing)}" if missing else f"also has {_some(unexpected)}"
        raise ModelError(
            f"{source} does not fit the encoder {encoder.name}: it {what}",
            hint="choose the encoder of these weights with --encoder",
        )
    if weights in PUBLISHED:
        encoder.weights = "imagenet" if architecture.imagenet else "pretrained"
    else:
        encoder.weights = Path(weights).name


def _some(keys: Sequence[str], shown: int = 8) -> str:
    rest = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return ", ".join(keys[:shown]) + rest


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(
            f"no such weights file: {path}", hint="give none, pretrained or a file to --weights"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{path} needs {error.name}, which is not installed", hint=from_timm.HINT
        ) from error
    except Exception as error:
        raise InputError(
            f"{path} is not a file of PyTorch weights ({type(error).__name__})",
            hint="save a state dict with torch.save(model.state_dict(), FILE)",
        ) from error
    for wrapper in ("state_dict", "teacher", "model"):  # checkpoints of trainings
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(
            f"{path} does not contain a state dict",
            hint="save a state dict with torch.save(model.state_dict(), FILE)",
        )
    read: dict[str, Tensor] = state
    return read


def _download(name: str, architecture: Architecture, weights: str) -> dict[str, Tensor]:
    if weights == "imagenet" and (architecture.timm or architecture.download):
        raise UsageError(
            f"the encoder {name} does not take imagenet weights",
            hint="use --weights pretrained, its published weights",
        )
    model = architecture.imagenet or architecture.timm or (name if architecture.download else None)
    if model is None:
        raise UsageError(
            f"there are no published weights for the encoder {name}",
            hint="use --weights none to train from scratch, or --weights FILE",
        )
    try:
        if architecture.download:
            return architecture.download()
        if architecture.timm:
            return from_timm.download(model)
        from torchvision.models import get_model

        state: dict[str, Tensor] = get_model(model, weights="DEFAULT").state_dict()
        return state
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"the weights of {model} could not be downloaded ({error})",
            hint="download them elsewhere and give --weights FILE, or use --encoder small, which needs "
            "none",
        ) from error

"""Encoders: a standardised image -> a feature vector, each network up to its global pooling."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from dcsh_pg.errors import InputError, ModelError, UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Encoder(nn.Module):
    """Float32 (N, bands, S, S), standardised -> features float32 (N, dim).

    Attributes:
        name: one of ``NAMES``.
        bands: bands of the images it takes.
        input_size: S, in pixels.
        mean, std: per band, of images scaled to 0..1; what its input is standardised with.
        dim: length of its features.
        weights: where its weights came from: 'none', 'imagenet' or a file's name.
    """

    def __init__(
        self,
        name: str,
        *,
        bands: int = 3,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ):
        """Builds the network with random weights.

        Args:
            mean, std: default to ImageNet's for three bands, else to 0.5 and 0.25.

        Raises:
            UsageError: no encoder has that name, or there is no band.
        """
        super().__init__()
        if name not in _ARCHITECTURES:
            raise UsageError(f"no encoder is called {name!r}", hint=f"one of: {', '.join(NAMES)}")
        if bands < 1:
            raise UsageError(f"an encoder cannot take {bands} bands")
        architecture = _ARCHITECTURES[name]
        self.name, self.bands = name, bands
        self.input_size, self.dim = architecture.input_size, architecture.dim
        natural = bands == 3
        self.mean = tuple(mean or (IMAGENET_MEAN if natural else (0.5,) * bands))
        self.std = tuple(std or (IMAGENET_STD if natural else (0.25,) * bands))
        self.weights = "none"
        self.body = architecture.build()
        if bands != 3:
            _set_bands(self.body, bands)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build this encoder again, without its weights."""
        return {"name": self.name, "bands": self.bands, "mean": self.mean, "std": self.std}


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


def _convolution(before: int, width: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def _resnet50() -> nn.Module:
    network = torchvision.models.resnet50()
    network.fc = nn.Identity()
    return network


def _resnet18() -> nn.Module:
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()
    return network


def _densenet169() -> nn.Module:
    network = torchvision.models.densenet169()
    network.classifier = nn.Identity()
    return network


def _resnet50_layer3() -> nn.Module:
    network = _resnet50()
    network.layer4 = nn.Identity()
    return network


def _resnet50_v1_layer3() -> nn.Module:
    """The original (Caffe, Keras) variant: a stage's stride is in its first 1 x 1 convolution."""
    network = _resnet50_layer3()
    for stage in (network.layer2, network.layer3):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return network


@dataclass(frozen=True)
class _Architecture:
    build: Callable[[], nn.Module]
    dim: int
    input_size: int = 224
    imagenet: str | None = None
    """Name of the torchvision model whose ImageNet weights fit."""
    cut: tuple[str, ...] = ("fc.", "classifier.")
    """Prefixes of weights that a file may hold and this network does without."""


_ARCHITECTURES = {
    "small": _Architecture(SmallNet, sum(SmallNet.WIDTHS), input_size=64, cut=()),
    "resnet18": _Architecture(_resnet18, 512, imagenet="resnet18"),
    "resnet50": _Architecture(_resnet50, 2048, imagenet="resnet50"),
    "resnet50-layer3": _Architecture(
        _resnet50_layer3, 1024, imagenet="resnet50", cut=("fc.", "layer4.")
    ),
    "resnet50-v1-layer3": _Architecture(_resnet50_v1_layer3, 1024, cut=("fc.", "layer4.")),
    "densenet169": _Architecture(_densenet169, 1664, imagenet="densenet169"),
}

NAMES = tuple(_ARCHITECTURES)


def load_weights(encoder: Encoder, weights: str) -> None:
    """Gives an encoder its weights, in place.

    Args:
        weights: 'none' keeps the random ones, 'imagenet' fetches torchvision's, anything else is
            a file with a torchvision state dict (float16 is read too).  Where the encoder does
            not take three bands, the first convolution's are repeated over its bands.

    Raises:
        InputError: the file cannot be read, or the download failed.
        ModelError: the weights are not those of this network.
        UsageError: there are no ImageNet weights for this network.
    """
    if weights == "none":
        return
    if weights == "imagenet":
        state, source = _download_imagenet(encoder.name), "the ImageNet weights"
    else:
        state, source = _read_state(Path(weights)), weights
    cut = _ARCHITECTURES[encoder.name].cut
    state = {key: value.float() for key, value in state.items() if not key.startswith(cut or "\0")}
    _repeat_bands(state, encoder)
    try:
        missing, unexpected = encoder.body.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ModelError(
            f"{source} does not fit the encoder {encoder.name}: {str(error).splitlines()[-1].strip()}",
            hint="choose the encoder that the weights were made for with --encoder",
        ) from None
    if missing or unexpected:
        what = f"lacks {_some(missing)}" if missing else f"has, beyond it, {_some(unexpected)}"
        raise ModelError(
            f"{source} does not fit the encoder {encoder.name}: it {what}",
            hint="choose the encoder that the weights were made for with --encoder",
        )
    encoder.weights = weights if weights == "imagenet" else Path(weights).name


def _some(keys: Sequence[str], shown: int = 8) -> str:
    rest = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return ", ".join(keys[:shown]) + rest


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(
            f"no such weights file: {path}", hint="give none, imagenet or a file to --weights"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"{path} is not a file of PyTorch weights ({type(error).__name__})",
            hint="save a state dict with torch.save(model.state_dict(), FILE)",
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(
            f"{path} holds no state dict",
            hint="save a state dict with torch.save(model.state_dict(), FILE)",
        )
    return state


def _download_imagenet(name: str) -> dict[str, Tensor]:
    model = _ARCHITECTURES[name].imagenet
    if model is None:
        raise UsageError(
            f"there are no ImageNet weights for the encoder {name}",
            hint="use --weights none to train from scratch, or --weights FILE",
        )
    try:
        return torchvision.models.get_model(model, weights="DEFAULT").state_dict()
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"the ImageNet weights of {model} could not be downloaded ({error})",
            hint="download them elsewhere and give the file: --weights FILE; "
            "or train --encoder small, which needs none",
        ) from error


def _first_convolution(body: nn.Module) -> str:
    return next(name for name, module in body.named_modules() if isinstance(module, nn.Conv2d))


def _set_bands(body: nn.Module, bands: int) -> None:
    name = _first_convolution(body)
    old = body.get_submodule(name)
    parent, _, leaf = name.rpartition(".")
    new = nn.Conv2d(
        bands, old.out_channels, old.kernel_size, old.stride, old.padding, bias=old.bias is not None
    )
    setattr(body.get_submodule(parent), leaf, new)


def _repeat_bands(state: dict[str, Tensor], encoder: Encoder) -> None:
    """Repeats a three-band first convolution over the encoder's bands, keeping its scale."""
    key = f"{_first_convolution(encoder.body)}.weight"
    kernel = state.get(key)
    if kernel is None or kernel.shape[1] != 3 or encoder.bands == 3:
        return
    source = torch.arange(encoder.bands) % 3
    state[key] = kernel[:, source] * (3 / encoder.bands)

"""What is known of an encoder's network before it is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """A network up to its features.

    Attributes:
        build: number of bands -> the network with random weights, images -> features.
        dim: length of the features; None for the built network's own ``head_hidden_size``.
        input_size: width and height of the images in pixels.
        maps: network, images -> its last feature map (N, C, h, w) before global pooling; None
            where it has none.
        learned: whether there are weights to learn; otherwise images are not standardised.
        default_weights: default of ``--weights``, 'pretrained' or 'none'.
        imagenet: name of the torchvision model whose ImageNet weights fit, if there is one.
        timm: name of the timm model whose weights fit, if there is one.
        tokenizer: of a network with a text tower in the space of its images, ``encode_text``: token ids
            int64 (N, length) -> float32 (N, dim).  Gives the tokenizer as JSON of the library tokenizers,
            which cuts and pads to that length.
        cut: prefixes of weights that a file may have and this network has not.
        stored: mean and std of values as a file of another type than uint8 stores them; None where the
            training set's are taken.
        rename: network, published state dict -> the state dict as the network names it.
        download: gives the published state dict, where torchvision and timm have none.
        mean, std: per band, of images in 0..1, in the training of its weights; None, where weights are
            learned, are those of ImageNet.
    """

    build: Callable[[int], nn.Module]
    dim: int | None
    input_size: int = 224
    maps: Callable[[Any, Tensor], Tensor] | None = None
    learned: bool = True
    default_weights: str = "pretrained"
    imagenet: str | None = None
    timm: str | None = None
    cut: tuple[str, ...] = ()
    tokenizer: Callable[[], str] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    stored: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    rename: Callable[[Any, dict[str, Tensor]], dict[str, Tensor]] | None = None
    download: Callable[[], dict[str, Tensor]] | None = None

    def standardisation(self, bands: int) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and standard deviation per band that images in 0..1 are standardised with."""
        if self.mean and self.std and len(self.mean) == bands:
            return self.mean, self.std
        if not self.learned:
            return (0.0,) * bands, (1.0,) * bands
        return (IMAGENET_MEAN, IMAGENET_STD) if bands == 3 else ((0.5,) * bands, (0.25,) * bands)

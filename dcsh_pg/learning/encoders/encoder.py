"""The module that every encoder is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import registry


class Encoder(nn.Module):
    """Float32 (N, bands, S, S), standardised -> features float32 (N, dim).

    Attributes:
        name: one of ``NAMES``, or ``timm:`` and the name of a model of timm.
        bands: bands of the images it takes.
        input_size: S, in pixels.
        mean, std: per band, of images scaled to 0..1; what its input is standardised with.
        dim: length of its features.
        weights: where its weights came from: 'none', 'imagenet', 'pretrained' (published ones
            that are not of ImageNet alone) or a file's name.
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
            mean, std: default to what the published weights have seen for three bands, else to
                0.5 and 0.25.

        Raises:
            UsageError: no encoder has that name, there is no band, or timm is needed and not
                installed.
        """
        super().__init__()
        architecture = registry.find(name)
        if bands < 1:
            raise UsageError(f"an encoder cannot take {bands} bands")
        self.name, self.bands = name, bands
        self.input_size = architecture.input_size
        default_mean, default_std = architecture.standardisation(bands)
        self.mean, self.std = tuple(mean or default_mean), tuple(std or default_std)
        self.weights = "none"
        self.body = architecture.build(bands)
        self.dim = self.body.head_hidden_size if architecture.dim is None else architecture.dim

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)

    def maps(self, images: Tensor) -> Tensor:
        """The last feature map before global pooling, float32 (N, C, h, w), after its ReLU.

        Raises:
            UsageError: this encoder has none.
        """
        maps = registry.find(self.name).maps
        if maps is None:
            raise UsageError(
                f"the encoder {self.name} has no feature maps",
                hint="choose a convolutional one with --encoder: small, a resnet, densenet169 or "
                "a vgg16",
            )
        return maps(self.body, images)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build this encoder again, without its weights."""
        return {"name": self.name, "bands": self.bands, "mean": self.mean, "std": self.std}

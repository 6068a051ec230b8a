"""The torch module that every encoder is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import from_onnx
from dcsh_pg.learning.encoders.architecture import Architecture
from dcsh_pg.learning.encoders.registry import find
from dcsh_pg.learning.encoders.text import TextAlignment
from dcsh_pg.pixel_types import PixelRange


class ImageEncoder(nn.Module):
    """Float32 (N, bands, S, S), standardised -> features float32 (N, dim).

    Attributes:
        name: the encoder's name.
        bands: number of bands of the images.
        input_size: S, in pixels.
        mean, std: per band, of images scaled to 0..1; its input is standardised with them.
        pixels: type of the images, and the values that are scaled to 0 and 1.
        dim: length of its features.
    """

    name: str
    bands: int
    input_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixels: PixelRange = PixelRange()
    dim: int
    if TYPE_CHECKING:

        def __call__(self, images: Tensor) -> Tensor: ...

    @property
    def config(self) -> dict[str, Any]:
        """Plain values that its features depend on, besides its weights; ``Encoder``'s arguments."""
        raise NotImplementedError


class Encoder(ImageEncoder):
    """An encoder by its name, see ``registry.find``.

    Attributes:
        architecture: what is known of its network.
        text: moves embeddings of its text tower to those of images; None where it has no such tower.
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
        architecture: Architecture | None = None,
        pixels: Mapping[str, Any] | None = None,
    ):
        """Builds the network with random weights.

        Args:
            architecture: None is that of ``registry.find``.
            mean, std: default to those of the published weights for three bands, else to 0.5
                and 0.25.
            pixels: ``PixelRange.config`` of the images; None for uint8.

        Raises:
            UsageError: there is no encoder of that name, ``bands`` is below 1, or the encoder
                needs timm, which is not installed.
            DcshError: the package that adds the encoder cannot be imported.
        """
        super().__init__()
        self.architecture = architecture = architecture or find(name)
        if bands < 1:
            raise UsageError(f"an encoder cannot take {bands} bands")
        self.name, self.bands = from_onnx.without_folder(name), bands
        self.input_size = architecture.input_size
        default_mean, default_std = architecture.standardisation(bands)
        self.mean, self.std = tuple(mean or default_mean), tuple(std or default_std)
        self.pixels = PixelRange(**(pixels or {}))
        self.weights = "none"
        body: Any = architecture.build(bands)
        self.body = body
        self.dim = int(body.head_hidden_size) if architecture.dim is None else architecture.dim
        self.text = TextAlignment(self.dim) if architecture.tokenizer else None

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images)
        return features

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids int64 (N, length) -> features as of images, float32 (N, dim); see ``text``."""
        assert self.text is not None
        return self.text(self.body.encode_text(tokens))

    def maps(self, images: Tensor) -> Tensor:
        """The last feature map before global pooling, float32 (N, C, h, w), after its ReLU.

        Raises:
            UsageError: this encoder has none.
        """
        maps = self.architecture.maps
        if maps is None:
            raise UsageError(
                f"the encoder {self.name} has no feature maps",
                hint="choose a convolutional one with --encoder: small, a resnet, densenet169 or "
                "a vgg16",
            )
        return maps(self.body, images)

    @property
    def config(self) -> dict[str, Any]:
        config = {"name": self.name, "bands": self.bands, "mean": self.mean, "std": self.std}
        return config | ({"pixels": self.pixels.config} if self.pixels.is_typed else {})

"""The text tower of an encoder: texts in the space of its images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional


class TextAlignment(nn.Module):
    """Embeddings of texts (N, dim) -> where images of the same content are, (N, dim).

    The two towers of a model such as CLIP fill two narrow cones apart from each other (the modality gap,
    Liang et al., NeurIPS 2022), so a head that was fitted to images would give all texts nearly the same
    code. The mean of each tower is taken out, and texts get the spread of images, so that scaling to unit
    length, which heads do, does not move them again.

    Attributes:
        texts, images: means of unit embeddings of texts and of images.
        spread: how many times farther images lie from their mean than texts from theirs.
        length: mean length of the embeddings of images.
    """

    texts: Tensor
    images: Tensor
    spread: Tensor
    length: Tensor
    if TYPE_CHECKING:

        def __call__(self, texts: Tensor) -> Tensor: ...

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("texts", torch.zeros(dim))
        self.register_buffer("images", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("length", torch.ones(()))

    @torch.no_grad()
    def fit(self, images: Tensor, texts: Tensor) -> None:
        """Sets it from embeddings of images (N, dim) and of texts (M, dim)."""
        self.length.copy_(images.norm(dim=1).mean())
        images, texts = _unit(images), _unit(texts)
        self.images.copy_(images.mean(dim=0))
        self.texts.copy_(texts.mean(dim=0))
        self.spread.copy_(_spread(images) / _spread(texts).clamp(min=1e-6))

    def forward(self, texts: Tensor) -> Tensor:
        return (self.images + (_unit(texts) - self.texts) * self.spread) * self.length


def _spread(embeddings: Tensor) -> Tensor:
    return (embeddings - embeddings.mean(dim=0)).square().sum(dim=1).mean().sqrt()


def _unit(embeddings: Tensor) -> Tensor:
    return functional.normalize(embeddings, dim=1)

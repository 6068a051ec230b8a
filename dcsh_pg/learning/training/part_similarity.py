"""Similarity of image parts: what groups of an encoder's channels attend to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.encoders.encoder import ImageEncoder
from dcsh_pg.learning.training.run import Run


def part_vectors(
    images: np.ndarray, encoder: Encoder, features: Tensor, parts: int, run: Run
) -> Tensor:
    """Vectors whose inner product is the mean over the parts of their cosines.

    Parts are those of ``PartEncoder``.  Of an encoder without feature maps they are contiguous
    groups of the feature vector itself.

    Args:
        images: (N, S, S, C).
        features: of these images, float32 (N, dim).
        parts: G, number of groups.

    Returns:
        float32 (N, D), of length 1 where no part is all zeros.

    Raises:
        OutputError: ``run.cache`` cannot be written.
    """
    try:
        part_encoder = PartEncoder(encoder, parts)
    except UsageError:
        seen = features
    else:
        seen = run.features(images, part_encoder)[:, 0]
    groups = [functional.normalize(group, dim=1) for group in seen.tensor_split(parts, dim=1)]
    vectors: Tensor = torch.cat(groups, dim=1) / parts**0.5
    return vectors


class PartEncoder(ImageEncoder):
    """Standardised images float32 (N, bands, S, S) -> features of the parts (N, C).

    The C channels of the last feature map F fall into G contiguous groups.  Group g attends to

        A_g(x, y) = softmax over (x, y) of the mean over its channels of F_c(x, y)

    and its features are p_c = sum over (x, y) of A_g(x, y) F_c(x, y) in each of its channels c.
    """

    def __init__(self, encoder: Encoder, parts: int):
        """Raises UsageError where the encoder has no feature maps."""
        super().__init__()
        self.encoder, self.parts = encoder.eval(), parts
        self.name, self.bands = f"{encoder.name}, parts", encoder.bands
        self.input_size, self.mean, self.std = encoder.input_size, encoder.mean, encoder.std
        self.pixels = encoder.pixels
        device = next(encoder.parameters(), torch.empty(0)).device
        blank = torch.zeros(1, encoder.bands, encoder.input_size, encoder.input_size, device=device)
        with torch.no_grad():
            self.dim = int(encoder.maps(blank).shape[1])

    @property
    def config(self) -> dict[str, Any]:
        return {**self.encoder.config, "parts": self.parts}

    def forward(self, images: Tensor) -> Tensor:
        maps = self.encoder.maps(images).flatten(2)
        seen = []
        for group in maps.tensor_split(self.parts, dim=1):
            attention = group.mean(dim=1, keepdim=True).float().softmax(dim=2).to(group.dtype)
            seen.append((attention * group).sum(dim=2))
        return torch.cat(seen, dim=1)

"""Positive pairs of features: views of an image, encoded by a frozen encoder."""

from __future__ import annotations

import torch
from torch import Tensor

from dcsh_pg.learning.data.pairs import Pairs, draw_partners


class FeaturePairs:
    """Two of the encoded views of each image.

    Args:
        features: float32 (N, V, D); view 0 is the image as it is.
        neighbours: int64 (N, k), or None.  With them the second view is one of the image itself
            or of one of its neighbours, all equally likely, and views of neighbours are not
            negatives.
        dropout: fraction of the features that are 0 in a drawn view; the others are scaled up.
    """

    def __init__(self, features: Tensor, neighbours: Tensor | None = None, *, dropout: float = 0.0):
        self.features, self.neighbours, self.dropout = features, neighbours, dropout

    def __len__(self) -> int:
        return len(self.features)

    def draw(self, rows: Tensor, generator: torch.Generator) -> Pairs:
        views = torch.randint(self.features.shape[1], (2, len(rows)), generator=generator)
        partners, ignored = draw_partners(rows, self.neighbours, generator)
        if ignored is not None:
            ignored = ignored.to(self.features.device)
        first, second = (
            self._thinned(self.features[images, view], generator)
            for images, view in zip((rows, partners), views, strict=True)
        )
        images = torch.cat([rows, partners]).to(self.features.device)
        return Pairs(first, second, images, ignored)

    def plain(self, rows: Tensor) -> Tensor:
        return self.features[rows, 0]

    def _thinned(self, features: Tensor, generator: torch.Generator) -> Tensor:
        if self.dropout == 0:
            return features
        kept = torch.rand(features.shape, generator=generator) >= self.dropout
        return features * kept.to(features.device) / (1 - self.dropout)

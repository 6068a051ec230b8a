"""Positive pairs in feature space: views of an image that a frozen encoder has seen."""

from __future__ import annotations

import torch
from torch import Tensor

from dcsh_pg.learning.pairs import Pairs


class FeaturePairs:
    """Two views of each image among those that a frozen encoder has seen.

    Args:
        features: float32 (N, V, D), view 0 being the image as it lies.
        neighbours: int64 (N, k), or None.  With them the second view is one of the image itself
            or of one of its neighbours, each as likely, and views of neighbours are no negatives.
        dropout: share of the features that are 0 in a drawn view, the others scaled up for it.
    """

    def __init__(self, features: Tensor, neighbours: Tensor | None = None, *, dropout: float = 0.0):
        self.features, self.neighbours, self.dropout = features, neighbours, dropout

    def __len__(self) -> int:
        return len(self.features)

    def draw(self, rows: Tensor, generator: torch.Generator) -> Pairs:
        views = torch.randint(self.features.shape[1], (2, len(rows)), generator=generator)
        partners, ignored = rows, None
        if self.neighbours is not None:
            candidates = torch.cat([rows[:, None], self.neighbours[rows]], dim=1)
            choice = torch.randint(candidates.shape[1], (len(rows), 1), generator=generator)
            partners = candidates.gather(1, choice)[:, 0]
            ignored = self._related(torch.cat([rows, partners])).to(self.features.device)
        first, second = (
            self._thinned(self.features[images, view], generator)
            for images, view in zip((rows, partners), views, strict=True)
        )
        return Pairs(first, second, ignored)

    def plain(self, rows: Tensor) -> Tensor:
        return self.features[rows, 0]

    def _thinned(self, features: Tensor, generator: torch.Generator) -> Tensor:
        if self.dropout == 0:
            return features
        kept = torch.rand(features.shape, generator=generator) >= self.dropout
        return features * kept.to(features.device) / (1 - self.dropout)

    def _related(self, rows: Tensor) -> Tensor:
        """bool (R, R): the same image, or one a neighbour of the other."""
        near = (self.neighbours[rows][:, None] == rows[None, :, None]).any(dim=2)
        return near | near.T | (rows[:, None] == rows[None])

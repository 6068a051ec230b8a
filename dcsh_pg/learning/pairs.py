"""Where training takes its positive pairs from: views of images, or views in feature space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dcsh_pg.learning.augment import Augmentation
from dcsh_pg.learning.preprocess import Preprocess


@dataclass(frozen=True)
class Pairs:
    """M positive pairs.

    Attributes:
        first, second: what the model takes, each (M, ...).
        ignored: bool (2M, 2M), pairs of views that are no negatives, or None; see ``nt_xent``.
    """

    first: Tensor
    second: Tensor
    ignored: Tensor | None = None


class PairSource(Protocol):
    """Something that a model can be trained on without labels."""

    def __len__(self) -> int: ...

    def draw(self, rows: Tensor, generator: torch.Generator) -> Pairs:
        """A random positive pair for each of these rows, int64 (M,)."""

    def plain(self, rows: Tensor) -> Tensor:
        """The same rows as they are when they get their code."""


class ImagePairs:
    """Two random views of each image (DCSH eq. 1).

    Args:
        images: uint8 (N, S, S, C); a memory map will do.
    """

    def __init__(
        self,
        images: np.ndarray,
        preprocess: Preprocess,
        augmentation: Augmentation,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
    ):
        self.images, self.device, self.memory_format = images, device, memory_format
        self.preprocess, self.augmentation = preprocess.to(device), augmentation

    def __len__(self) -> int:
        return len(self.images)

    def _scaled(self, rows: Tensor) -> Tensor:
        batch = torch.from_numpy(np.ascontiguousarray(self.images[rows.numpy()]))
        return self.preprocess.scale(batch.to(self.device)).contiguous(
            memory_format=self.memory_format
        )

    def draw(self, rows: Tensor, generator: torch.Generator) -> Pairs:
        scaled = self._scaled(rows)
        first, second = (
            self.preprocess.standardise(self.augmentation(scaled, generator)) for _ in range(2)
        )
        return Pairs(first, second)

    def plain(self, rows: Tensor) -> Tensor:
        return self.preprocess.standardise(self._scaled(rows))


class FeaturePairs:
    """Two views of each image among those that a frozen encoder has seen.

    Args:
        features: float32 (N, V, D), view 0 being the image as it lies.
        neighbours: int64 (N, k), or None.  With them the second view is one of the image itself
            or of one of its neighbours, each as likely, and views of neighbours are no negatives.
    """

    def __init__(self, features: Tensor, neighbours: Tensor | None = None):
        self.features, self.neighbours = features, neighbours

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
        return Pairs(self.features[rows, views[0]], self.features[partners, views[1]], ignored)

    def plain(self, rows: Tensor) -> Tensor:
        return self.features[rows, 0]

    def _related(self, rows: Tensor) -> Tensor:
        """bool (R, R): the same image, or one a neighbour of the other."""
        near = (self.neighbours[rows][:, None] == rows[None, :, None]).any(dim=2)
        return near | near.T | (rows[:, None] == rows[None])

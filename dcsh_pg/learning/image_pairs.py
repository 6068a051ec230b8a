"""Positive pairs of images: two random views of each."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dcsh_pg.learning.augment import Augmentation
from dcsh_pg.learning.pairs import Pairs
from dcsh_pg.learning.preprocess import Preprocess


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

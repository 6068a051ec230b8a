"""Positive pairs of images: two random views of each."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dcsh_pg.learning.data.augment import Augmentation
from dcsh_pg.learning.data.image_store import ImageStore
from dcsh_pg.learning.data.pairs import Pairs, draw_partners
from dcsh_pg.learning.model.device import send
from dcsh_pg.learning.model.preprocess import Preprocess

_CACHED_IMAGES = 4
"""Images resized at a time on a CPU: few enough to stay in its caches, which halves the time."""


class ImagePairs:
    """Two random views of each image (DCSH eq. 1), or of an image and a neighbour.

    Args:
        images: (N, S, S, C), or a memory map.
        neighbours: int64 (N, k) on the CPU, or None.  With them the second view is of the image
            itself or of one of its neighbours, all equally likely, and views of neighbours are
            not negatives.
    """

    def __init__(
        self,
        images: np.ndarray,
        preprocess: Preprocess,
        augmentation: Augmentation,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
        neighbours: Tensor | None = None,
    ):
        self.images, self.device = ImageStore(images, device), device
        self.memory_format = memory_format
        self.preprocess, self.augmentation = preprocess.to(device), augmentation
        self.neighbours = neighbours

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, rows: Tensor, generator: torch.Generator) -> Pairs:
        partners, ignored = draw_partners(rows, self.neighbours, generator)
        scaled = self._scaled(rows)
        others = scaled if partners is rows else self._scaled(partners)
        views = self.augmentation(torch.cat([scaled, others]), generator)
        first, second = self._standardised(views).chunk(2)
        images = send(torch.cat([rows, partners]), self.device)
        return Pairs(first, second, images, None if ignored is None else send(ignored, self.device))

    def plain(self, rows: Tensor) -> Tensor:
        return self._standardised(self._scaled(rows))

    def _scaled(self, rows: Tensor) -> Tensor:
        images = self.images.take(rows)
        if self.device.type != "cpu":
            return self.preprocess.scale(images)
        return torch.cat([self.preprocess.scale(part) for part in images.split(_CACHED_IMAGES)])

    def _standardised(self, views: Tensor) -> Tensor:
        return self.preprocess.standardise(views).contiguous(memory_format=self.memory_format)

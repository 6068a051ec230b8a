"""Which images an epoch takes, where the archive has far more of some kinds than of others."""

from __future__ import annotations

import torch
from torch import Tensor

from dcsh_pg.learning.data.pairs import Pairs, PairSource

LANDMARKS = 2_000
"""Images that the density is measured with."""
EXPONENT = 3
_IMAGES_AT_ONCE = 4096


def density(unit: Tensor, *, seed: int = 0) -> Tensor:
    """Fraction of the images that are similar to each, float (N,) in 0..1.

    The mean of cosine ** 3, 0 where it is negative, with at most ``LANDMARKS`` images.

    Args:
        unit: one unit vector for each image, (N, D); see ``neighbours.whitened``.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(unit), generator=generator)[:LANDMARKS].to(unit.device)
    landmarks = unit[drawn]
    parts = [
        (block @ landmarks.T).clamp(min=0).pow(EXPONENT).mean(dim=1)
        for block in unit.split(_IMAGES_AT_ONCE)
    ]
    return torch.cat(parts)


def spread(unit: Tensor, *, seed: int = 0) -> Tensor:
    """As many images, drawn in inverse proportion to their density: rare ones several times.

    Returns:
        int64 (N,) on the CPU, ascending.
    """
    inverse = 1 / density(unit, seed=seed).double().cpu().clamp(min=1e-6)
    bounds = (inverse / inverse.sum()).cumsum(dim=0)
    ticks = (torch.arange(len(unit), dtype=torch.float64) + 0.5) / len(unit)
    return torch.searchsorted(bounds, ticks).clamp(max=len(unit) - 1)


class Sampled:
    """Pairs of some images of a source, an image as often as it is drawn.

    Args:
        rows: int64 (M,), images of the source.
    """

    def __init__(self, source: PairSource, rows: Tensor):
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, rows: Tensor, generator: torch.Generator) -> Pairs:
        return self.source.draw(self.rows[rows], generator)

    def plain(self, rows: Tensor) -> Tensor:
        return self.source.plain(self.rows[rows])

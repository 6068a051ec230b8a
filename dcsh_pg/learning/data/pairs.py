"""Positive pairs, and the sources that draw them: ``image_pairs`` and ``feature_pairs``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """M positive pairs.

    Attributes:
        first, second: what the model takes, each (M, ...).
        images: int64 (2M,), the image that each view is of, ``first`` before ``second``.
        ignored: bool (2M, 2M), pairs of views that are not negatives, or None; see ``nt_xent``.
    """

    first: Tensor
    second: Tensor
    images: Tensor
    ignored: Tensor | None = None


class PairSource(Protocol):
    """Draws positive pairs of images without labels."""

    def __len__(self) -> int: ...

    def draw(self, rows: Tensor, generator: torch.Generator) -> Pairs:
        """A random positive pair for each of these rows, int64 (M,)."""

    def plain(self, rows: Tensor) -> Tensor:
        """The same rows as they are when they are hashed: not augmented."""


def draw_partners(
    rows: Tensor, neighbours: Tensor | None, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Draws the images of the second views, and finds the pairs that are not negatives.

    Args:
        rows: int64 (M,), the images of the first views.
        neighbours: int64 (N, k), or None: each image is its own partner and nothing is ignored.

    Returns:
        int64 (M,), for each image itself or one of its neighbours, all equally likely; and
        ``Pairs.ignored``, true for views of one image, or of two images of which one is a
        neighbour of the other.
    """
    if neighbours is None:
        return rows, None
    candidates = torch.cat([rows[:, None], neighbours[rows]], dim=1)
    choice = torch.randint(candidates.shape[1], (len(rows), 1), generator=generator)
    partners = candidates.gather(1, choice)[:, 0]
    views = torch.cat([rows, partners])
    near = (neighbours[views][:, None] == views[None, :, None]).any(dim=2)
    return partners, near | near.T | (views[:, None] == views[None])

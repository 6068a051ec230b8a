"""What training takes its positive pairs from; ``image_pairs`` and ``feature_pairs`` are two such."""

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

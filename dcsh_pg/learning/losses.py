"""The two terms of DCSH's loss (Remote Sensing 2022, 14, 3643, section 3.4)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Reduction = Literal["mean", "sum"]


def nt_xent(
    first: Tensor, second: Tensor, *, temperature: float, ignored: Tensor | None = None
) -> Tensor:
    """Normalised temperature-scaled cross-entropy over M pairs (eq. 12), their mean.

    Every view is an anchor once; its positive is its partner, its negatives are the 2(M - 1)
    views of the other pairs: 126 in a batch of 64.

    Args:
        first, second: hash-like features h of the two views, float (M, K).
        temperature: tau.
        ignored: bool (2M, 2M) over the views, ``first`` before ``second``; pairs that are
            neither positive nor negative.  None ignores nothing, as the paper does.

    Returns:
        float scalar.
    """
    pairs = len(first)
    views = functional.normalize(torch.cat([first, second]), dim=1)
    similarity = views @ views.T / temperature
    partner = torch.arange(2 * pairs, device=views.device).roll(pairs)
    left_out = torch.eye(2 * pairs, dtype=torch.bool, device=views.device)
    if ignored is not None:
        left_out = left_out | ignored
        left_out[torch.arange(2 * pairs, device=views.device), partner] = False
    return functional.cross_entropy(similarity.masked_fill(left_out, -torch.inf), partner)


def quantization(first: Tensor, second: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Squared distance of h to the nearest corner of the cube (eq. 13), the mean over M pairs.

    Args:
        first, second: hash-like features h of the two views, float (M, K).
        reduction: over the K bits.  'sum' is eq. 13 as printed, and at 64 bits outweighs the
            contrastive term until the codes collapse; 'mean' divides it by K.

    Returns:
        float scalar.
    """
    distance = (first.abs() - 1).square() + (second.abs() - 1).square()
    over_bits = distance.mean(dim=1) if reduction == "mean" else distance.sum(dim=1)
    return over_bits.mean() / 2

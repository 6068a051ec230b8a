"""The contrastive term of DCSH's loss (Remote Sensing 2022, 14, 3643, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


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
    excluded = torch.eye(2 * pairs, dtype=torch.bool, device=views.device)
    if ignored is not None:
        excluded = excluded | ignored
        excluded[torch.arange(2 * pairs, device=views.device), partner] = False
    return functional.cross_entropy(similarity.masked_fill(excluded, -torch.inf), partner)

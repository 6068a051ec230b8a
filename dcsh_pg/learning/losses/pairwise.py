"""Losses on the similarity of all pairs in a batch, for SPL-UDH and PSCH.

Each takes h float (B, K) of B views and targets for all B x B pairs of them, and returns the mean over
the pairs that count, without pairs of a view with itself: a float scalar, 0 where none counts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def pair_likelihood(h: Tensor, similarity: Tensor, counts: Tensor, *, sharpness: float) -> Tensor:
    """Negative log-likelihood of soft similarities s, with theta = sharpness / (2 K) h_i . h_j,

        -[s theta - log(1 + exp theta)]

    that is, s is a target for the probability sigmoid(theta) that i and j are similar.

    Args:
        similarity: s in 0..1, float (B, B).
        counts: bool (B, B), the pairs that count.
    """
    theta = sharpness / (2 * h.shape[1]) * (h @ h.T)
    cost = functional.softplus(theta) - similarity * theta
    return _mean(cost, counts)


def pair_regression(h: Tensor, similarity: Tensor, counts: Tensor) -> Tensor:
    """Squared difference of h_i . h_j / K to a target in -1..1.

    Args:
        similarity: the targets, float (B, B).
        counts: bool (B, B), the pairs that count.
    """
    return _mean((h @ h.T / h.shape[1] - similarity).square(), counts)


def _mean(cost: Tensor, counts: Tensor) -> Tensor:
    counted = counts & ~torch.eye(len(cost), dtype=torch.bool, device=cost.device)
    return (cost * counted).sum() / counted.sum().clamp(min=1)

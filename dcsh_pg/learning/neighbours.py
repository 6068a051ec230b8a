"""Nearest neighbours in feature space: positives without labels for a frozen encoder."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_CHUNK = 2048


def nearest(features: Tensor, k: int) -> Tensor:
    """The k nearest images of every image, itself left out.

    Nearness is the cosine of the features averaged over an image's views and centred.

    Args:
        features: float (N, V, D).
        k: at most N - 1.

    Returns:
        int64 (N, k), nearest first.
    """
    mean = functional.normalize(features, dim=2).mean(dim=1)
    centred = functional.normalize(mean - mean.mean(dim=0), dim=1)
    found = []
    for first in range(0, len(centred), _CHUNK):
        similarity = centred[first : first + _CHUNK] @ centred.T
        own = torch.arange(first, first + len(similarity), device=centred.device)
        similarity[torch.arange(len(similarity)), own] = -torch.inf
        found.append(similarity.topk(k, dim=1).indices)
    return torch.cat(found)

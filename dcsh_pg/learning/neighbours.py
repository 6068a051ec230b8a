"""Neighbours in feature space: positives without labels for a frozen encoder."""

from __future__ import annotations

import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

_CHUNK = 1024
EXPONENT = 3
"""Edges of the graph weigh cosine ** this, as is usual for diffusion in image retrieval."""


def centred(features: Tensor) -> Tensor:
    """Features (N, V, D) averaged over an image's views, centred over the images: unit (N, D)."""
    mean = functional.normalize(features, dim=2).mean(dim=1)
    return functional.normalize(mean - mean.mean(dim=0), dim=1)


def nearest(features: Tensor, k: int) -> Tensor:
    """The k nearest images of every image by the cosine of ``centred``, itself left out.

    Args:
        features: float (N, V, D).
        k: at most N - 1.

    Returns:
        int64 (N, k), nearest first.
    """
    return _ranked(centred(features), k)[1]


def diffused(
    features: Tensor, k: int, *, graph: int = 15, restart: float = 0.1, steps: int = 20
) -> Tensor:
    """The k images that are most alike along the data, for every image, itself left out.

    Likeness spreads over the graph in which each image is joined to its ``graph`` nearest:
    random walks with restart, as in manifold ranking (Zhou et al., NIPS 2003) and in diffusion
    for retrieval (Iscen et al., CVPR 2017),

        P = sum over t up to steps of (1 - restart)^t S^t,    S = D^(-1/2) W D^(-1/2)

    where W holds cosine ** 3 of joined images, symmetrised, and D its row sums.  Two images that
    share neighbours come close though they look different, and one that is near by chance, with
    no neighbours in common, falls behind.

    Args:
        features: float (N, V, D).
        k: at most N - 1.

    Returns:
        int64 (N, k), most alike first; ties by index.
    """
    unit = centred(features)
    images = len(unit)
    walk = _normalised_graph(unit, min(graph, images - 1))
    found = []
    for rows in torch.arange(images).split(_CHUNK):
        start = (
            sparse.csr_matrix(
                ([1.0] * len(rows), (rows.numpy(), range(len(rows)))), shape=(images, len(rows))
            )
            .toarray()
            .astype("float32")
        )
        likeness = start
        for _ in range(steps):
            likeness = start + (1 - restart) * (walk @ likeness)
        alike = torch.from_numpy(likeness).T
        alike[torch.arange(len(rows)), rows] = -torch.inf
        found.append(alike.sort(dim=1, descending=True, stable=True).indices[:, :k])
    return torch.cat(found)


def _ranked(unit: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Cosines (N, k) and indices (N, k) of the nearest of unit vectors (N, D), itself left out."""
    cosines, indices = [], []
    for first in range(0, len(unit), _CHUNK):
        similarity = unit[first : first + _CHUNK] @ unit.T
        own = torch.arange(first, first + len(similarity), device=unit.device)
        similarity[torch.arange(len(similarity), device=unit.device), own] = -torch.inf
        top = similarity.topk(k, dim=1)
        cosines.append(top.values)
        indices.append(top.indices)
    return torch.cat(cosines), torch.cat(indices)


def _normalised_graph(unit: Tensor, k: int) -> sparse.csr_matrix:
    """D^(-1/2) W D^(-1/2) of the symmetrised k-nearest-neighbour graph, float32 (N, N)."""
    cosines, indices = (part.cpu() for part in _ranked(unit, k))
    images = len(unit)
    weights = cosines.clamp(min=0).pow(EXPONENT).flatten().numpy().astype("float32")
    rows = torch.arange(images).repeat_interleave(k).numpy()
    directed = sparse.csr_matrix((weights, (rows, indices.flatten().numpy())), (images, images))
    graph = (directed + directed.T) / 2
    degree = graph.sum(axis=1).A1.clip(min=1e-9)
    scale = sparse.diags((degree**-0.5).astype("float32"))
    return (scale @ graph @ scale).tocsr()

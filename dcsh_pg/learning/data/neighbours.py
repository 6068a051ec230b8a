"""Images that are similar in feature space: positives without labels.

``centred`` and ``whitened`` turn features of views into one unit vector for each image; ``nearest``,
``clustered`` and ``diffused`` take these (N, D) and return int64 (N, k): for every image the similar
images, without itself.
"""

from __future__ import annotations

import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

EXPONENT = 3
"""Edges of the graph have the weight cosine ** 3, as is usual for diffusion in image retrieval."""
COMPONENTS = 512
"""Principal components that whitening keeps."""
_ROWS_AT_ONCE = 1 << 23
"""Entries of a block of the (N, N) matrix of similarities."""


def centred(features: Tensor) -> Tensor:
    """Features (N, V, D) averaged over an image's views, centred over the images: unit (N, D)."""
    mean = functional.normalize(features, dim=2).mean(dim=1)
    return functional.normalize(mean - mean.mean(dim=0), dim=1)


def whitened(features: Tensor) -> Tensor:
    """Features (N, V, D) with dominant entries and directions damped: unit (N, d).

    Signed square root of each entry (power normalisation: Perronnin et al., ECCV 2010), then
    unit length, mean over an image's views, centring over the images, and the first 512 principal
    components, each divided by the square root of its standard deviation: half of whitening
    (Jegou and Chum, ECCV 2012).  A few bursty channels and the directions in which all imagery
    varies most, brightness and texture, otherwise decide which images are alike.
    """
    damped = functional.normalize(features.sign() * features.abs().sqrt(), dim=2).mean(dim=1)
    damped = (damped - damped.mean(dim=0)).double()
    variances, directions = torch.linalg.eigh(damped.T @ damped / len(damped))
    kept = variances.flip(0)[:COMPONENTS]
    kept = kept[kept > kept[0] * 1e-10]
    projected = damped @ directions.flip(1)[:, : len(kept)]
    return functional.normalize(projected / kept**0.25, dim=1).to(features.dtype)


def nearest(unit: Tensor, k: int) -> Tensor:
    """The k nearest images of every image by cosine, nearest first; k is at most N - 1."""
    return _ranked(unit, k)[1]


def clustered(unit: Tensor, clusters: int, *, seed: int = 0) -> Tensor:
    """All images of the same k-means cluster, for every image.

    Clusters smaller than the largest repeat their images, the image itself among them, so that
    each row is as long as the largest cluster.
    """
    from sklearn.cluster import KMeans  # takes a second to import

    kmeans = KMeans(min(clusters, len(unit)), n_init=10, random_state=seed).fit(unit.cpu().numpy())
    labels = torch.from_numpy(kmeans.labels_).long()
    largest = int(labels.bincount().max())
    found = torch.empty(len(unit), largest, dtype=torch.int64)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        found[members] = members.repeat(-(-largest // len(members)))[:largest]
    return found


def diffused(
    unit: Tensor, k: int, *, graph: int = 10, restart: float = 0.1, steps: int = 20
) -> Tensor:
    """The k images that are most similar along the data, for every image.

    Similarity spreads over the graph in which each image is joined to its ``graph`` nearest:
    random walks with restart, as in manifold ranking (Zhou et al., NIPS 2003) and in diffusion
    for retrieval (Iscen et al., CVPR 2017),

        P = sum over t up to steps of (1 - restart)^t S^t,    S = D^(-1/2) W D^(-1/2)

    where W holds cosine ** 3 of joined images, symmetrised, and D its row sums.  Two images that
    share neighbours are similar even if they look different, and one that is near by chance, with
    no neighbours in common, ranks lower.

    Args:
        k: at most N - 1.
        graph: neighbours that each image is joined to.
        restart: probability of a restart at each step of a walk.

    Returns:
        int64 (N, k), most similar first; ties by index.
    """
    images = len(unit)
    walk = _normalised_graph(unit, min(graph, images - 1))
    found = []
    for rows in torch.arange(images).split(_block(images)):
        start = (
            sparse.csr_matrix(
                ([1.0] * len(rows), (rows.numpy(), range(len(rows)))), shape=(images, len(rows))
            )
            .toarray()
            .astype("float32")
        )
        similarity = start
        for _ in range(steps):
            similarity = start + (1 - restart) * (walk @ similarity)
        similar = torch.from_numpy(similarity).T
        similar[torch.arange(len(rows)), rows] = -torch.inf
        found.append(similar.sort(dim=1, descending=True, stable=True).indices[:, :k])
    return torch.cat(found)


def _ranked(unit: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Cosines (N, k) and indices (N, k) of the nearest of unit vectors (N, D), without itself."""
    cosines, indices = [], []
    block = _block(len(unit))
    for first in range(0, len(unit), block):
        similarity = unit[first : first + block] @ unit.T
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
    normalised: sparse.csr_matrix = (scale @ graph @ scale).tocsr()
    return normalised


def _block(images: int) -> int:
    """Rows of the (N, N) matrix in a block."""
    return max(1, _ROWS_AT_ONCE // images)

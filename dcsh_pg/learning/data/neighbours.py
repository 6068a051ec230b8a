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

from dcsh_pg.learning.data import large_neighbours
from dcsh_pg.progress import SILENT, Progress

EXPONENT = 3
"""Edges of the graph have the weight cosine ** 3, as is usual for diffusion in image retrieval."""
COMPONENTS = 512
"""Principal components that whitening keeps."""
EXACT = 10_000
"""Images among which neighbours are exact."""
_IMAGES_AT_ONCE = 1024
_ROWS_AT_ONCE = 1 << 23
"""Entries of a block of the (N, N) matrix of similarities."""


def centred(features: Tensor) -> Tensor:
    """Features (N, V, D) averaged over an image's views, centred over the images: unit (N, D)."""
    blocks = features.split(_IMAGES_AT_ONCE)
    mean = torch.cat([functional.normalize(block, dim=2).mean(dim=1) for block in blocks])
    return functional.normalize(mean - mean.mean(dim=0), dim=1)


def whitened(features: Tensor) -> Tensor:
    """Features (N, V, D) with dominant entries and directions damped: unit (N, d).

    Signed square root of each entry (power normalisation: Perronnin et al., ECCV 2010), then
    unit length, mean over an image's views, centring over the images, and the first 512 principal
    components, each divided by the square root of its standard deviation: half of whitening
    (Jegou and Chum, ECCV 2012).  A few bursty channels and the directions in which all imagery
    varies most, brightness and texture, otherwise decide which images are alike.

    Memory beside the features is that of the result and of a few (D, D).
    """
    blocks = features.split(_IMAGES_AT_ONCE)
    mean = sum(_damped(block).sum(dim=0) for block in blocks) / len(features)
    moments = [(centred := _damped(block) - mean).T @ centred for block in blocks]
    variances, directions = torch.linalg.eigh(sum(moments) / len(features))
    kept = variances.flip(0)[:COMPONENTS]
    kept = kept[kept > kept[0] * 1e-10]
    axes = directions.flip(1)[:, : len(kept)] / kept**0.25
    parts = [functional.normalize((_damped(block) - mean) @ axes, dim=1) for block in blocks]
    return torch.cat([part.to(features.dtype) for part in parts])


def _damped(features: Tensor) -> Tensor:
    """Unit signed square roots of features (N, V, D), averaged over the views: float64 (N, D)."""
    return functional.normalize(features.sign() * features.abs().sqrt(), dim=2).mean(dim=1).double()


def nearest(unit: Tensor, k: int, *, seed: int = 0, progress: Progress = SILENT) -> Tensor:
    """The k nearest images of every image by cosine, nearest first; k is at most N - 1.

    Among more than ``EXACT`` images on a CPU most of the nearest; ``seed`` decides which.
    """
    return _ranked(unit, k, seed, progress)[1]


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
    unit: Tensor,
    k: int,
    *,
    graph: int = 10,
    restart: float = 0.1,
    steps: int = 20,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Tensor:
    """The k images that are most similar along the data, for every image.

    Similarity spreads over the graph in which each image is joined to its ``graph`` nearest:
    random walks with restart, as in manifold ranking (Zhou et al., NIPS 2003) and in diffusion
    for retrieval (Iscen et al., CVPR 2017),

        P = sum over t up to steps of (1 - restart)^t S^t,    S = D^(-1/2) W D^(-1/2)

    where W holds cosine ** 3 of joined images, symmetrised, and D its row sums.  Two images that
    share neighbours are similar even if they look different, and one that is near by chance, with
    no neighbours in common, ranks lower.

    Among more than ``EXACT`` images, approximately: see ``large_neighbours``.

    Args:
        k: at most N - 1.
        graph: neighbours that each image is joined to.
        restart: probability of a restart at each step of a walk.
        seed: random seed, of approximate neighbours.

    Returns:
        int64 (N, k), most similar first; ties by index.
    """
    images = len(unit)
    walk = _normalised_graph(unit, min(graph, images - 1), seed, progress)
    if images > EXACT:
        return torch.from_numpy(
            large_neighbours.walked(walk, k, restart=restart, steps=steps, progress=progress)
        )
    found = []
    progress.start("walks between neighbours", images)
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
        progress.advance(len(rows))
    return torch.cat(found)


def _ranked(unit: Tensor, k: int, seed: int, progress: Progress) -> tuple[Tensor, Tensor]:
    """Cosines (N, k) and indices (N, k) of the nearest of unit vectors (N, D), without itself."""
    if len(unit) > EXACT and unit.device.type == "cpu":
        ranked = large_neighbours.nearest(unit.numpy(), k, seed=seed, progress=progress)
        return torch.from_numpy(ranked[0]), torch.from_numpy(ranked[1])
    cosines, indices = [], []
    progress.start("neighbours", len(unit))
    block = _block(len(unit))
    for first in range(0, len(unit), block):
        similarity = unit[first : first + block] @ unit.T
        own = torch.arange(first, first + len(similarity), device=unit.device)
        similarity[torch.arange(len(similarity), device=unit.device), own] = -torch.inf
        top = similarity.topk(k, dim=1)
        cosines.append(top.values)
        indices.append(top.indices)
        progress.advance(len(similarity))
    return torch.cat(cosines), torch.cat(indices)


def _normalised_graph(unit: Tensor, k: int, seed: int, progress: Progress) -> sparse.csr_matrix:
    """D^(-1/2) W D^(-1/2) of the symmetrised k-nearest-neighbour graph, float32 (N, N)."""
    cosines, indices = (part.cpu() for part in _ranked(unit, k, seed, progress))
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

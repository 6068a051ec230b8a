"""Pseudo-labels: clusters of k-means, and which images are confidently in theirs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

COMPONENTS = 128
"""Principal components of the features that k-means clusters."""


@dataclass(frozen=True)
class PseudoLabels:
    """One cluster for each of N images.

    Attributes:
        clusters: int64 (N,), from 0 to ``count`` - 1.
        confident: bool (N,), whether the image is near enough to its centroid.
        count: number of clusters.
    """

    clusters: Tensor
    confident: Tensor
    count: int


def pseudo_labels(features: Tensor, clusters: int, *, quantile: float, seed: int) -> PseudoLabels:
    """Clusters the images by k-means on their unit features, averaged over views.

    An image is confident where its distance to the centroid is at most the ``quantile`` of the
    distances in its cluster.  Sums run in one thread, so that they do not depend on timing.

    Args:
        features: float (N, V, D) of V views of N images.
        clusters: k; no more than N // 2 are made.
    """
    from sklearn.cluster import KMeans  # takes a second to import
    from sklearn.decomposition import PCA

    points = functional.normalize(features, dim=2).mean(dim=1).cpu().double().numpy()
    with threadpool_limits(1):
        if min(points.shape) > COMPONENTS:
            points = PCA(COMPONENTS, svd_solver="randomized", random_state=seed).fit_transform(
                points
            )
        kmeans = KMeans(min(clusters, len(points) // 2), n_init=10, random_state=seed).fit(points)
    labels = torch.from_numpy(kmeans.labels_).long()
    offsets = torch.from_numpy(points - kmeans.cluster_centers_[kmeans.labels_])
    distances = offsets.norm(dim=1)
    confident = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = labels == label
        confident[members] = distances[members] <= distances[members].quantile(quantile)
    return PseudoLabels(labels, confident, kmeans.n_clusters)

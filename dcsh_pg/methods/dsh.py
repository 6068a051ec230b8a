"""DSH, density sensitive hashing: hyperplanes between neighbouring clusters."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import entr
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.closed_form import fit_head, unit_mean
from dcsh_pg.learning.training.options import MethodOptions
from dcsh_pg.learning.training.run import Run


@dataclass(frozen=True)
class Options(MethodOptions):
    """Density sensitive hashing (Jin, Li, Lin and Cai, IEEE Transactions on Cybernetics 2014).

    Features of a frozen encoder, scaled to unit length, are quantized by a few iterations of
    k-means into ``alpha`` K groups.  Hyperplanes midway between two centroids of which one is among
    the other's ``adjacent`` nearest are the candidates; bit k is the side of the one that splits the
    images k-th most evenly, by the entropy of the groups' sizes on both sides.

    Attributes:
        alpha: groups for each bit; the paper's 1.5.
        adjacent: nearest centroids of each centroid, r; the paper's 3.
        iterations: of k-means, p; the paper's 3.
    """

    method: ClassVar[str] = "dsh"
    alpha: float = 1.5
    adjacent: int = 3
    iterations: int = 3

    def check(self) -> None:
        super().check()
        if not self.alpha > 1:
            raise UsageError(
                f"alpha must be above 1, not {self.alpha}", hint=self.default_of("alpha")
            )
        self.require_at_least(2, "adjacent")
        self.require_at_least(1, "iterations")


def fit(images: np.ndarray, encoder: Encoder, options: Options, run: Run) -> HashFunction:
    """``Method.fit``; needs an image for each of the ``alpha`` K groups, and varied images."""
    groups = round(options.alpha * run.bits)
    if groups > len(images):
        raise UsageError(
            f"DSH needs at least {groups} images for {run.bits} bits, not {len(images)}",
            hint="give more images or fewer --bits",
        )

    def make(features: Tensor) -> tuple[MLPHead, dict[str, Any]]:
        unit = unit_mean(features)
        kmeans = KMeans(
            groups, init="random", n_init=1, max_iter=options.iterations, random_state=run.seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            kmeans.fit(unit)
        sizes = np.bincount(kmeans.labels_, minlength=groups)
        normals, offsets = hyperplanes(kmeans.cluster_centers_, sizes, run.bits, options.adjacent)
        return MLPHead.linear(normals, -offsets, l2_normalize=True), {"groups": groups}

    return fit_head(images, encoder, make, options, run)


def hyperplanes(
    centroids: np.ndarray, sizes: np.ndarray, bits: int, adjacent: int
) -> tuple[np.ndarray, np.ndarray]:
    """The hyperplanes between adjacent centroids that split the images most evenly.

    Args:
        centroids: float64 (G, D).
        sizes: images of each group, int (G,).

    Returns:
        unit normals (bits, D) and offsets (bits,): a point x is on side 1 where normal . x >=
        offset.

    Raises:
        UsageError: fewer pairs of adjacent centroids than bits.
    """
    squares = np.square(centroids[:, None] - centroids).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    nearest = np.argsort(squares, axis=1, kind="stable")[:, :adjacent]
    pairs = np.unique([sorted((i, int(j))) for i, near in enumerate(nearest) for j in near], axis=0)
    first, second = centroids[pairs[:, 0]], centroids[pairs[:, 1]]
    normals = first - second
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    distinct = lengths[:, 0] > 0
    normals = normals[distinct] / lengths[distinct]
    offsets = ((first + second)[distinct] / 2 * normals).sum(axis=1)
    if len(normals) < bits:
        raise UsageError(
            f"DSH found {len(normals)} pairs of adjacent groups for {bits} bits",
            hint="give more varied images, a larger alpha or adjacent, or fewer --bits",
        )
    above = (centroids @ normals.T > offsets).T @ sizes / sizes.sum()
    best = np.argsort(-(entr(above) + entr(1 - above)), kind="stable")[:bits]
    return normals[best], offsets[best]

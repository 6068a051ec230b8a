"""PSCH, pseudo-labels and soft multi-part corresponding similarity hashing: our reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.feature_pairs import FeaturePairs
from dcsh_pg.learning.data.features import ALL_ORIENTATIONS, fixed_views
from dcsh_pg.learning.data.pairs import Pairs
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.losses.pairwise import pair_regression
from dcsh_pg.learning.losses.quantization import quantization
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.hash_layer import EpochOptions, train_hash_layer
from dcsh_pg.learning.training.part_similarity import part_vectors
from dcsh_pg.learning.training.pseudo_labels import PseudoLabels, pseudo_labels
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.learning.training.run import Run
from dcsh_pg.learning.training.trainer import require_images


@dataclass(frozen=True)
class Options(EpochOptions):
    """Pseudo labels and soft multi-part corresponding similarity (Li et al., IEEE Access 2020).

    Our reconstruction from the abstract alone, which says: pseudo-labels come from k-means with a
    threshold on the distance; deep feature maps are divided into groups, whose attention maps give
    the similarities of several parts, for images of one class; one loss combines both.  Every
    formula is ours; docs/methods.md, ``Objective``, ``training.pseudo_labels`` and
    ``training.part_similarity`` have them.  The parts of an encoder without feature maps (gist,
    timm's) are groups of its feature vector.

    Attributes:
        clusters: k of k-means, at most half the number of images.
        confidence: share of each cluster, the nearest to its centroid, that is learned from.
        parts: G, groups of channels.
        classes: weight of the classification loss.
    """

    method: ClassVar[str] = "psch"
    clusters: int = 60
    confidence: float = 0.7
    parts: int = 4
    classes: float = 0.1

    def check(self) -> None:
        super().check()
        self.require_at_least(0, "classes")
        self.require_at_least(1, "parts")
        self.require_at_least(2, "clusters")
        if not 0 < self.confidence <= 1:
            raise UsageError(
                f"confidence must be above 0 and at most 1, not {self.confidence}",
                hint=self.default_of("confidence"),
            )


def fit(images: np.ndarray, encoder: Encoder, options: Options, run: Run) -> HashFunction:
    """``Method.fit``; on resume clusters and parts are computed again, with the same result."""
    require_images(len(images))
    features = run.features(images, encoder, fixed_views(ALL_ORIENTATIONS)).to(run.device)
    with seeded(run.seed):
        head = options.hash_layer(encoder.dim, run.bits).to(run.device)
        labels = pseudo_labels(
            features, options.clusters, quantile=options.confidence, seed=run.seed
        )
        vectors = part_vectors(images, encoder, features[:, 0], options.parts, run)
        objective = Objective(labels, vectors, run.bits, options).to(run.device)
    source = FeaturePairs(features)
    return train_hash_layer(images, encoder, head, source, objective, options, run)


class Objective(nn.Module):
    """The loss on h = tanh(beta z), given pseudo-labels and parts.

    Over the 2M views of a batch and their pairs i != j,

        similarity      mean (h_i . h_j / K - T_ij)^2 over the pairs of one cluster,
                            plus the same over those of two
        classification  mean over confident i of the cross-entropy of softmax(W h_i + a) and the
                            cluster of i
        quantization    mean (|h_ik| - 1)^2

    Only pairs of confident images count.  T_ij is -1 for those of two clusters, and for those of
    one the mean cosine of corresponding parts, rescaled so that its least and greatest over all such pairs
    are 0 and 1.  Two views of one image, confident or not, always count, with T_ij = 1, among the
    pairs of one cluster.  Each kind of pairs has a mean of its own, because pairs of two clusters
    far outnumber those of one.  The loss is similarity + ``classes`` classification + ``alpha``
    quantization.

    Args:
        labels: of N images.
        vectors: float32 (N, D), see ``part_similarity.part_vectors``.
        bits: K.
    """

    clusters: Tensor
    confident: Tensor
    vectors: Tensor

    def __init__(self, labels: PseudoLabels, vectors: Tensor, bits: int, options: Options):
        super().__init__()
        self.options = options
        self.classifier = nn.Linear(bits, labels.count)
        self.lowest = _least_similarity(labels, vectors)
        self.register_buffer("clusters", labels.clusters, persistent=False)
        self.register_buffer("confident", labels.confident, persistent=False)
        self.register_buffer("vectors", vectors, persistent=False)

    def forward(
        self, first: Tensor, second: Tensor, pairs: Pairs, beta: float
    ) -> Mapping[str, Tensor]:
        """The terms of the loss, for z of the two views, float (M, K)."""
        h1, h2 = torch.tanh(beta * first), torch.tanh(beta * second)
        h = torch.cat([h1, h2])
        targets, same, different = self.targets(pairs.images)
        confident = self.confident[pairs.images]
        cost = functional.cross_entropy(
            self.classifier(h), self.clusters[pairs.images], reduction="none"
        )
        classification = (cost * confident).sum() / confident.sum().clamp(min=1)
        return {
            "similarity": pair_regression(h, targets, same)
            + pair_regression(h, targets, different),
            "classification": self.options.classes * classification,
            "quantization": self.options.alpha * quantization(h1, h2),
        }

    def targets(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """T of all pairs of these images, int64 (B,), and which of them are pairs of one cluster
        and of two, among those that count: float32, bool and bool (B, B)."""
        clusters, confident = self.clusters[images], self.confident[images]
        vectors = self.vectors[images]
        similarity = (vectors @ vectors.T - self.lowest) / max(1 - self.lowest, 1e-6)
        together = clusters[:, None] == clusters
        sure = confident[:, None] & confident
        same = images[:, None] == images
        targets = torch.where(together, similarity.clamp(0, 1), -1.0).masked_fill(same, 1.0)
        return targets, together & sure | same, ~together & sure


def _least_similarity(labels: PseudoLabels, vectors: Tensor) -> float:
    """The least similarity of parts of two confident images of one cluster."""
    lowest = 1.0
    for cluster in range(labels.count):
        members = vectors[(labels.clusters == cluster) & labels.confident]
        lowest = min(lowest, (members @ members.T).min().item())
    return lowest

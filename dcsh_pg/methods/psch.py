"""PSCH, pseudo-labels and soft multi-part corresponding similarity hashing: our reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.features import FeatureCache
from dcsh_pg.learning.data.pairs import Pairs
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.losses import pair_regression, quantization
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.head_training import HeadTraining, check_weights, train_head
from dcsh_pg.learning.training.part_similarity import part_vectors
from dcsh_pg.learning.training.pseudo_labels import PseudoLabels, pseudo_labels
from dcsh_pg.progress import SILENT, Progress

METHOD = "psch"


@dataclass(frozen=True)
class Options(HeadTraining):
    """Pseudo labels and soft multi-part corresponding similarity (Li et al., IEEE Access 2020).

    Our reconstruction: only the abstract was to be had.  Certain from it: pseudo-labels come from
    k-means with a threshold on the distance; deep feature maps are divided into groups, whose
    attention maps give likenesses of several parts, for images of one class; one loss supports
    both.  Every formula is ours; docs/methods.md, ``Objective``, ``learning.training.pseudo_labels`` and
    ``learning.training.part_similarity`` have them.  An encoder without feature maps (gist, timm's)
    gets groups of its feature vector as parts.

    Attributes:
        clusters: k of k-means, at most half the number of images.
        confidence: share of each cluster, the nearest to its centroid, that is learned from.
        parts: G, groups of channels.
        classes: weight of telling the cluster from h.
    """

    clusters: int = 60
    confidence: float = 0.7
    parts: int = 4
    classes: float = 0.1

    def check(self) -> None:
        """Raises UsageError where a value cannot mean anything; the message names the option."""
        super().check()
        check_weights(classes=self.classes)
        if self.clusters < 2 or self.parts < 1:
            raise UsageError(
                f"clusters={self.clusters} with parts={self.parts} tells nothing apart",
                hint="give clusters of 2 or more and parts of 1 or more",
            )
        if not 0 < self.confidence <= 1:
            raise UsageError(
                f"confidence={self.confidence} is no share of a cluster",
                hint="give more than 0, and 1 at most",
            )


def fit(
    images: np.ndarray,
    encoder: Encoder,
    *,
    bits: int,
    seed: int = 0,
    options: Options | None = None,
    device: torch.device | str = "cpu",
    cache: FeatureCache | Path | None = None,
    run: Path | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
) -> HashFunction:
    """Trains a hash layer without labels, on features of a frozen encoder.

    Args:
        images: uint8 (N, S, S, C).
        bits: K.
        cache: of features and of part vectors, or its folder.
        run: folder for checkpoint and log, or None.
        resume: go on from the checkpoint in ``run``; clusters and parts are found again, alike.

    Returns:
        The hash function, on the CPU and in evaluation mode.

    Raises:
        UsageError, TrainingError, InputError, OutputError: see ``Options.check`` and
            ``trainer.train``.
    """
    options = options or Options()

    def make_objective(features: Tensor) -> Objective:
        labels = pseudo_labels(features, options.clusters, quantile=options.confidence, seed=seed)
        vectors = part_vectors(
            images,
            encoder,
            features[:, 0],
            options.parts,
            cache=cache,
            device=device,
            progress=progress,
        )
        return Objective(labels, vectors, bits, options)

    return train_head(
        images,
        encoder,
        make_objective,
        method=METHOD,
        bits=bits,
        seed=seed,
        options=options,
        device=device,
        cache=cache,
        run=run,
        resume=resume,
        progress=progress,
    )


class Objective(nn.Module):
    """The loss on h = tanh(beta z), given pseudo-labels and parts.

    Over the 2M views of a batch and their pairs i != j,

        similarity      mean (h_i . h_j / K - T_ij)^2 over the pairs of one cluster,
                            plus the same over those of two
        classification  mean over confident i of the cross-entropy of softmax(W h_i + a) and the
                            cluster of i
        quantization    mean (|h_ik| - 1)^2

    Only pairs of confident images count.  T_ij is -1 for those of two clusters, and for those of
    one the mean cosine of like parts, rescaled so that its least and greatest over all such pairs
    are 0 and 1.  Two views of one image, confident or not, always count, with T_ij = 1, among the
    pairs of one cluster.  Each kind of pairs has a mean of its own, because those of two clusters
    are as many times more as there are clusters.  The loss is similarity + ``classes`` classification + ``alpha``
    quantization.

    Args:
        labels: of N images.
        vectors: float32 (N, D), see ``learning.training.part_similarity.part_vectors``.
        bits: K.
    """

    def __init__(self, labels: PseudoLabels, vectors: Tensor, bits: int, options: Options):
        super().__init__()
        self.options = options
        self.classifier = nn.Linear(bits, labels.count)
        self.lowest = _least_alike(labels, vectors)
        self.register_buffer("clusters", labels.clusters, persistent=False)
        self.register_buffer("confident", labels.confident, persistent=False)
        self.register_buffer("vectors", vectors, persistent=False)

    def forward(
        self, first: Tensor, second: Tensor, pairs: Pairs, beta: float
    ) -> Mapping[str, Tensor]:
        """The terms of the loss, for z of the two views, float (M, K)."""
        h1, h2 = torch.tanh(beta * first), torch.tanh(beta * second)
        h = torch.cat([h1, h2])
        targets, alike, unlike = self.targets(pairs.images)
        confident = self.confident[pairs.images]
        cost = functional.cross_entropy(
            self.classifier(h), self.clusters[pairs.images], reduction="none"
        )
        classification = (cost * confident).sum() / confident.sum().clamp(min=1)
        return {
            "similarity": pair_regression(h, targets, alike) + pair_regression(h, targets, unlike),
            "classification": self.options.classes * classification,
            "quantization": self.options.alpha * quantization(h1, h2),
        }

    def targets(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """T of all pairs of these images, int64 (B,), and which of them are pairs of one cluster
        and of two, among those that count: float32, bool and bool (B, B)."""
        clusters, confident = self.clusters[images], self.confident[images]
        vectors = self.vectors[images]
        likeness = (vectors @ vectors.T - self.lowest) / max(1 - self.lowest, 1e-6)
        together = clusters[:, None] == clusters
        sure = confident[:, None] & confident
        same = images[:, None] == images
        targets = torch.where(together, likeness.clamp(0, 1), -1.0).masked_fill(same, 1.0)
        return targets, together & sure | same, ~together & sure


def _least_alike(labels: PseudoLabels, vectors: Tensor) -> float:
    """The least likeness of parts of two confident images of one cluster."""
    lowest = 1.0
    for cluster in range(labels.count):
        members = vectors[(labels.clusters == cluster) & labels.confident]
        lowest = min(lowest, (members @ members.T).min().item())
    return lowest

"""PLSH, probabilistic latent semantic hashing: shares of latent topics (our reconstruction)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import TopicHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.closed_form import fit_head, unit_mean
from dcsh_pg.learning.training.options import MethodOptions
from dcsh_pg.learning.training.run import Run


@dataclass(frozen=True)
class Options(MethodOptions):
    """Probabilistic latent semantic hashing (Fernandez-Beltran et al., GRSL 18(2), 2021): our
    reconstruction.

    Known of the paper are three steps: the archive is grouped, topics are computed for each group
    by pLSA, and the topic distributions are thresholded.  Here: k-means on unit-length features
    gives ``groups``; in each, features of a frozen encoder count as frequencies of words and pLSA
    finds K / groups topics; an image is folded into every group's model; bit k says whether its
    share of topic k is above the training images' mean.

    Attributes:
        groups: M, a divisor of K; ours.
        iterations: largest number of EM steps.
        tolerance: EM ends when its error falls by less, relative to the first.
        smoothing: added to every word's probability in a topic, in units of 1 / words.
        steps: EM steps of the fold-in, unrolled in the exported model.
        threshold: of a share. After many steps most shares of an image are near 0, so a median
            divides images by noise.
    """

    method: ClassVar[str] = "plsh"
    groups: int = 4
    iterations: int = 100
    tolerance: float = 1e-4
    smoothing: float = 1e-2
    steps: int = 30
    threshold: Literal["mean", "median"] = "mean"

    def check(self) -> None:
        super().check()
        self.require_at_least(1, "groups", "iterations", "steps")
        self.require_at_least(0, "tolerance")
        self.require_positive("smoothing")


def fit(images: np.ndarray, encoder: Encoder, options: Options, run: Run) -> HashFunction:
    """``Method.fit``; needs groups that share the bits equally, and more images than bits."""
    if run.bits % options.groups or run.bits // options.groups < 2:
        raise UsageError(
            f"PLSH cannot share {run.bits} bits among {options.groups} groups",
            hint="choose --set groups=N so that each group gets the same number of bits, 2 or more",
        )

    def make(features: Tensor) -> tuple[TopicHead, dict[str, Any]]:
        unit = unit_mean(features)
        counts = features.double().clamp(min=0).mean(dim=1).numpy()
        kmeans = KMeans(options.groups, n_init=10, random_state=run.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            kmeans.fit(unit)
        sizes = np.bincount(kmeans.labels_, minlength=options.groups)
        if sizes.min() == 0:
            raise UsageError(
                f"PLSH found {np.count_nonzero(sizes)} clusters of images for {options.groups} groups",
                hint="give more varied images, or fewer groups with --set groups=N",
            )
        head = TopicHead(encoder.dim, run.bits, groups=options.groups, steps=options.steps)
        with torch.no_grad():
            for group, words in enumerate(head.words):
                members = counts[kmeans.labels_ == group]
                words.copy_(torch.from_numpy(topics(members, len(words), options, run.seed)))
            shares = (
                head.shares(features.flatten(0, 1)).view(*features.shape[:2], run.bits).mean(dim=1)
            )
            middle = np.mean if options.threshold == "mean" else np.median
            head.thresholds.copy_(torch.from_numpy(middle(shares.numpy(), axis=0)))
        return head, {"group_sizes": sizes.tolist()}

    return fit_head(images, encoder, make, options, run)


def topics(counts: np.ndarray, number: int, options: Options, seed: int) -> np.ndarray:
    """P(w|z) of a pLSA model.

    Fitted as non-negative matrix factorisation with the Kullback-Leibler loss, which scikit-learn
    has: its multiplicative updates reach the same fixed points as pLSA's EM (Gaussier and Goutte,
    SIGIR 2005).

    Args:
        counts: word frequencies, float64 (N, D), at least 0; rows are scaled to sum 1.
        number: of topics.

    Returns:
        float64 (number, D), smoothed; rows sum to 1.
    """
    sums = counts.sum(axis=1, keepdims=True)
    frequencies = np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)
    model = NMF(
        number,
        init="random",
        solver="mu",
        beta_loss="kullback-leibler",
        max_iter=options.iterations,
        tol=options.tolerance,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(frequencies)
    words = model.components_
    words = words / np.maximum(words.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    words = words + options.smoothing / words.shape[1]
    found: np.ndarray = words / words.sum(axis=1, keepdims=True)
    return found

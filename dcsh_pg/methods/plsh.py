"""PLSH, probabilistic latent semantic hashing: bits are shares of topics."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.features import FeatureCache
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import TopicHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.closed_form import check_orientations, fit_head, unit_mean
from dcsh_pg.progress import SILENT, Progress

METHOD = "plsh"


@dataclass(frozen=True)
class Options:
    """Probabilistic latent semantic hashing (Fernandez-Beltran et al., GRSL 18(2), 2021): our
    reconstruction.

    Known of the paper are three steps: the archive is grouped, topics are computed for each group
    by pLSA, and the topic distributions are thresholded.  Here: k-means on unit-length features
    gives ``groups``; in each, features of a frozen encoder count as frequencies of words and pLSA
    finds K / groups topics; an image is folded into every group's model; bit k says whether its
    share of topic k is above the training images' median.

    Attributes:
        groups: M, a divisor of K; ours.
        iterations: of EM at most.
        tolerance: EM ends when its error falls by less, relative to the first.
        smoothing: added to every word's probability in a topic, in units of 1 / words.
        steps: EM steps of the fold-in, unrolled in the exported model.
        orientations: 1, 4 or 8 orientations of the image over which z is averaged.
    """

    groups: int = 4
    iterations: int = 100
    tolerance: float = 1e-4
    smoothing: float = 1e-2
    steps: int = 30
    orientations: int = 1

    def check(self) -> None:
        """Raises UsageError where a value cannot mean anything; the message names the option."""
        for name in ("groups", "iterations", "steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)} is no number of {name}")
        if self.tolerance < 0 or self.smoothing <= 0:
            raise UsageError(
                f"tolerance={self.tolerance} with smoothing={self.smoothing} is no topic model",
                hint="take a tolerance of 0 or more and a smoothing above 0",
            )
        check_orientations(self.orientations)


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
    """Fits a hash function without labels; see ``itq.fit`` for the arguments.

    Raises:
        UsageError: bits that the groups cannot share, fewer kinds of images than groups, or as
            many bits as images.
        OutputError: ``cache`` or ``run`` cannot be written.
    """
    options = options or Options()
    options.check()
    if bits % options.groups or bits // options.groups < 2:
        raise UsageError(
            f"PLSH cannot share {bits} bits among {options.groups} groups",
            hint="take groups so that each gets the same number of topics, 2 or more",
        )

    def make(features: Tensor) -> tuple[TopicHead, dict[str, Any]]:
        unit = unit_mean(features)
        counts = features.double().clamp(min=0).mean(dim=1).numpy()
        kmeans = KMeans(options.groups, n_init=10, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            kmeans.fit(unit)
        sizes = np.bincount(kmeans.labels_, minlength=options.groups)
        if sizes.min() == 0:
            raise UsageError(
                f"PLSH found {np.count_nonzero(sizes)} kinds of images for {options.groups} groups",
                hint="give more varied images, or fewer groups",
            )
        head = TopicHead(encoder.dim, bits, groups=options.groups, steps=options.steps)
        with torch.no_grad():
            for group, words in enumerate(head.words):
                members = counts[kmeans.labels_ == group]
                words.copy_(torch.from_numpy(topics(members, len(words), options, seed)))
            shares = head.shares(features.flatten(0, 1)).view(*features.shape[:2], bits).mean(dim=1)
            head.thresholds.copy_(torch.from_numpy(np.median(shares.numpy(), axis=0)))
        return head, {"group_sizes": sizes.tolist()}

    return fit_head(
        images,
        encoder,
        make,
        method=METHOD,
        bits=bits,
        orientations=options.orientations,
        device=device,
        cache=cache,
        run=run,
        progress=progress,
    )


def topics(counts: np.ndarray, number: int, options: Options, seed: int) -> np.ndarray:
    """P(w|z) of a pLSA model.

    Fitted as non-negative matrix factorisation with the Kullback-Leibler loss, whose
    multiplicative updates reach the same fixed points as pLSA's EM (Gaussier and Goutte, SIGIR
    2005), because scikit-learn keeps that and no pLSA.

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
    return words / words.sum(axis=1, keepdims=True)

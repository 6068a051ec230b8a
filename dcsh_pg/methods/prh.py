"""PRH, partial randomness hashing: a random encoder, its decoder learned in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.features import FeatureCache
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.closed_form import check_orientations, fit_head, unit_mean
from dcsh_pg.progress import SILENT, Progress

METHOD = "prh"
_SMALLEST = 1e-6
"""Floor of a feature's standard deviation."""


@dataclass(frozen=True)
class Options:
    """Partial randomness hashing (Li and Ren, IEEE GRSL 14(3), 2017): our reconstruction.

    The paper's text is not at hand; this follows what the DCSH paper and the authors' online
    variant (Remote Sensing 2018, 10(5), 709, Algorithm 1) say of it: an extreme learning machine's
    auto-encoder.  Standardised features x of a frozen encoder go through a random layer
    h = sigmoid(x A + a) of K units that is never trained; the decoder alone is fitted, by ridge
    regression beta = (H^T H + lambda I)^-1 H^T X, and its transpose projects: z = x beta^T - m.

    Chosen by us: A has orthonormal columns, a is drawn from N(0, 1), and m is the training
    images' median, so that bits are balanced.

    Attributes:
        ridge: lambda.
        orientations: 1, 4 or 8 orientations of the image over which z is averaged.
    """

    ridge: float = 1.0
    orientations: int = 1

    def check(self) -> None:
        """Raises UsageError where a value cannot mean anything; the message names the option."""
        if self.ridge <= 0:
            raise UsageError(f"ridge={self.ridge} is no weight", hint="take a ridge above 0")
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
        UsageError: more bits than features, or as many as images.
        OutputError: ``cache`` or ``run`` cannot be written.
    """
    options = options or Options()
    options.check()
    if bits > encoder.dim:
        raise UsageError(
            f"PRH cannot make {bits} bits from {encoder.dim} features",
            hint="give fewer --bits or a larger --encoder",
        )

    def make(features: Tensor) -> tuple[MLPHead, dict[str, Any]]:
        unit = unit_mean(features)
        mean, scale = unit.mean(axis=0), np.maximum(unit.std(axis=0), _SMALLEST)
        standardised = (unit - mean) / scale
        decoder = fit_decoder(standardised, bits, options.ridge, np.random.default_rng(seed))
        weight = decoder / scale
        threshold = np.median(standardised @ decoder.T, axis=0)
        head = MLPHead.linear(weight, -weight @ mean - threshold, l2_normalize=True)
        return head, {"ridge": options.ridge}

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


def fit_decoder(
    features: np.ndarray, bits: int, ridge: float, random: np.random.Generator
) -> np.ndarray:
    """The decoder behind a random layer of ``bits`` sigmoid units.

    Args:
        features: standardised, float64 (N, D).

    Returns:
        beta, float64 (bits, D).
    """
    projection, _ = np.linalg.qr(random.standard_normal((features.shape[1], bits)))
    hidden = expit(features @ projection + random.standard_normal(bits))
    gram = hidden.T @ hidden + ridge * np.eye(bits)
    return np.linalg.solve(gram, hidden.T @ features)

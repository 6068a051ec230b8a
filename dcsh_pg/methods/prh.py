"""PRH, partial randomness hashing: the decoder of a random layer, in closed form (our reconstruction)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit
from torch import Tensor

from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.closed_form import fit_head, require_features, unit_mean
from dcsh_pg.learning.training.options import MethodOptions
from dcsh_pg.learning.training.run import Run

_SMALLEST = 1e-6
"""Floor of a feature's standard deviation."""


@dataclass(frozen=True)
class Options(MethodOptions):
    """Partial randomness hashing (Li and Ren, IEEE GRSL 14(3), 2017): our reconstruction.

    The paper's text is not at hand.  This follows the DCSH paper's account of it and the authors'
    online variant (Remote Sensing 2018, 10(5), 709, Algorithm 1): the auto-encoder of an extreme
    learning machine.  Standardised features x of a frozen encoder go through a random layer
    h = sigmoid(x A + a) of K units that is never trained; the decoder alone is fitted, by ridge
    regression beta = (H^T H + lambda I)^-1 H^T X, and its transpose projects: z = x beta^T - m.

    Chosen by us: A has orthonormal columns, a is drawn from N(0, 1), and m is the training
    images' median, so that bits are balanced.

    Attributes:
        ridge: lambda.
        unit_length: scale features to unit length before they are standardised.
    """

    method: ClassVar[str] = "prh"
    ridge: float = 1.0
    unit_length: bool = False

    def check(self) -> None:
        super().check()
        self.require_positive("ridge")


def fit(images: np.ndarray, encoder: Encoder, options: Options, run: Run) -> HashFunction:
    """``Method.fit``; needs more images than bits, and as many features."""
    require_features(encoder, options, run.bits)

    def make(features: Tensor) -> tuple[MLPHead, dict[str, Any]]:
        given = unit_mean(features) if options.unit_length else features.double().mean(1).numpy()
        mean, scale = given.mean(axis=0), np.maximum(given.std(axis=0), _SMALLEST)
        standardised = (given - mean) / scale
        random = np.random.default_rng(run.seed)
        decoder = fit_decoder(standardised, run.bits, options.ridge, random)
        weight = decoder / scale
        threshold = np.median(standardised @ decoder.T, axis=0)
        bias = -weight @ mean - threshold
        head = MLPHead.linear(weight, bias, l2_normalize=options.unit_length)
        return head, {"ridge": options.ridge}

    return fit_head(images, encoder, make, options, run)


def fit_decoder(
    features: np.ndarray, bits: int, ridge: float, random: np.random.Generator
) -> np.ndarray:
    """The decoder of a random layer of ``bits`` sigmoid units.

    Args:
        features: standardised, float64 (N, D).

    Returns:
        beta, float64 (bits, D).
    """
    projection, _ = np.linalg.qr(random.standard_normal((features.shape[1], bits)))
    hidden = expit(features @ projection + random.standard_normal(bits))
    gram = hidden.T @ hidden + ridge * np.eye(bits)
    return np.linalg.solve(gram, hidden.T @ features)

"""ITQ, iterative quantization: principal components, rotated towards the corners of the cube."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.closed_form import fit_head, require_features, unit_mean
from dcsh_pg.learning.training.options import MethodOptions
from dcsh_pg.learning.training.run import Run


@dataclass(frozen=True)
class Options(MethodOptions):
    """Iterative quantization (Gong and Lazebnik, CVPR 2011; with Gordo and Perronnin, TPAMI 2013).

    Features of a frozen encoder are scaled to unit length, centred and projected on their first K
    principal components; a rotation is then found that brings the projections closest to the
    corners of the cube.  One Linear layer holds centring, projection and rotation.

    Attributes:
        iterations: alternations between codes and rotation; the paper's 50.
    """

    method: ClassVar[str] = "itq"
    iterations: int = 50

    def check(self) -> None:
        super().check()
        self.require_at_least(1, "iterations")


def fit(images: np.ndarray, encoder: Encoder, options: Options, run: Run) -> HashFunction:
    """``Method.fit``; needs more images than bits, and as many features."""
    require_features(encoder, options, run.bits)

    def make(features: Tensor) -> tuple[MLPHead, dict[str, Any]]:
        mean, projection, rotation, errors = quantize(
            unit_mean(features), run.bits, options, run.seed
        )
        weight = (projection @ rotation).T
        head = MLPHead.linear(weight, -weight @ mean, l2_normalize=True)
        return head, {"iterations": options.iterations, "quantization": errors[-1]}

    return fit_head(images, encoder, make, options, run)


def quantize(
    features: np.ndarray, bits: int, options: Options, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]:
    """Mean, PCA projection and ITQ rotation of features, float64 (N, D).

    Returns:
        mean (D,); projection (D, K), orthonormal columns; rotation (K, K), orthogonal; and the
        quantization error ||B - V R||^2 / N after each update of the codes B, which never rises.
    """
    mean = features.mean(axis=0)
    centred = features - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    projection = vectors[:, ::-1][:, :bits]
    projected = centred @ projection
    random = np.random.default_rng(seed).standard_normal((bits, bits))
    rotation, _ = np.linalg.qr(random)
    errors = []
    for _ in range(options.iterations):
        rotated = projected @ rotation
        codes = np.where(rotated >= 0, 1.0, -1.0)
        errors.append(float(np.square(codes - rotated).sum() / len(features)))
        left, _, right = np.linalg.svd(projected.T @ codes)
        rotation = left @ right
    return mean, projection, rotation, errors

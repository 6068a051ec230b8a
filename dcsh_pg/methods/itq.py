"""ITQ, iterative quantization: a classic method on the same path as the deep one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.features import FeatureCache
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.closed_form import check_orientations, fit_head, unit_mean
from dcsh_pg.progress import SILENT, Progress

METHOD = "itq"


@dataclass(frozen=True)
class Options:
    """Iterative quantization (Gong and Lazebnik, CVPR 2011; with Gordo and Perronnin, TPAMI 2013).

    Features of a frozen encoder are scaled to unit length, centred and projected on their first K
    principal components; a rotation is then found that brings the projections closest to the
    corners of the cube.  One Linear layer holds centring, projection and rotation.

    Attributes:
        iterations: alternations between codes and rotation; the paper's 50.
        orientations: 1, 4 or 8 orientations of the image over which z is averaged.
    """

    iterations: int = 50
    orientations: int = 1

    def check(self) -> None:
        """Raises UsageError where a value cannot mean anything; the message names the option."""
        if self.iterations < 1:
            raise UsageError("--iterations must be 1 or more")
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
    """Fits a hash function without labels.

    Args:
        images: uint8 (N, S, S, C).
        bits: K, at most the features' length and less than the number of images.
        cache: folder for features.
        run: folder for log.jsonl, or None.
        resume: features in the cache are used in any case, and the rest takes seconds: no meaning.

    Raises:
        UsageError: too few images or features for that many bits.
        OutputError: ``cache`` or ``run`` cannot be written.
    """
    options = options or Options()
    options.check()
    if bits > encoder.dim:
        raise UsageError(
            f"ITQ cannot make {bits} bits from {encoder.dim} features",
            hint="give fewer --bits or a larger --encoder",
        )

    def make(features: Tensor) -> tuple[MLPHead, dict[str, Any]]:
        mean, projection, rotation, errors = quantize(unit_mean(features), bits, options, seed)
        weight = (projection @ rotation).T
        head = MLPHead.linear(weight, -weight @ mean, l2_normalize=True)
        return head, {"iterations": options.iterations, "quantization": errors[-1]}

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

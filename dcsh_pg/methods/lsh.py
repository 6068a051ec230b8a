"""LSH, random hyperplanes through the mean of the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.closed_form import fit_head, unit_mean
from dcsh_pg.learning.training.options import MethodOptions
from dcsh_pg.learning.training.run import Run


@dataclass(frozen=True)
class Options(MethodOptions):
    """Locality-sensitive hashing by random hyperplanes (Charikar, STOC 2002).

    Features of a frozen encoder are scaled to unit length and centred on the training images; bit
    k is the side of a random hyperplane through their mean, its normal drawn from N(0, I).
    """

    method: ClassVar[str] = "lsh"


def fit(images: np.ndarray, encoder: Encoder, options: Options, run: Run) -> HashFunction:
    """``Method.fit``; needs more images than bits."""

    def make(features: Tensor) -> tuple[MLPHead, dict[str, Any]]:
        mean = unit_mean(features).mean(axis=0)
        normals = np.random.default_rng(run.seed).standard_normal((run.bits, encoder.dim))
        return MLPHead.linear(normals, -normals @ mean, l2_normalize=True), {}

    return fit_head(images, encoder, make, options, run)

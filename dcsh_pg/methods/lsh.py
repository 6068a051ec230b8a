"""LSH, random hyperplanes: codes that no data has shaped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcsh_pg.learning.data.features import FeatureCache
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.closed_form import check_orientations, fit_head, unit_mean
from dcsh_pg.progress import SILENT, Progress

METHOD = "lsh"


@dataclass(frozen=True)
class Options:
    """Locality-sensitive hashing by random hyperplanes (Charikar, STOC 2002).

    Features of a frozen encoder are scaled to unit length and centred on the training images; bit
    k is the side of a random hyperplane through their mean, its normal drawn from N(0, I).

    Attributes:
        orientations: 1, 4 or 8 orientations of the image over which z is averaged.
    """

    orientations: int = 1

    def check(self) -> None:
        """Raises UsageError where a value cannot mean anything; the message names the option."""
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
        UsageError: as many bits as images, or more.
        OutputError: ``cache`` or ``run`` cannot be written.
    """
    options = options or Options()
    options.check()

    def make(features: Tensor) -> tuple[MLPHead, dict[str, Any]]:
        mean = unit_mean(features).mean(axis=0)
        normals = np.random.default_rng(seed).standard_normal((bits, encoder.dim))
        return MLPHead.linear(normals, -normals @ mean, l2_normalize=True), {}

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

"""Fitting a head to features of a frozen encoder at once, without epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.features import fixed_views
from dcsh_pg.learning.encoders.encoder import Encoder
from dcsh_pg.learning.heads import Head
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.bit_balance import BitBalance
from dcsh_pg.learning.training.options import MethodOptions
from dcsh_pg.learning.training.run import Run
from dcsh_pg.learning.training.trainer import LOG, write_log


def fit_head(
    images: np.ndarray,
    encoder: Encoder,
    make: Callable[[Tensor], tuple[Head, dict[str, Any]]],
    options: MethodOptions,
    run: Run,
) -> HashFunction:
    """``Method.fit`` of a head that is fitted at once; needs more images than bits.

    Args:
        make: features float32 (N, orientations, dim) -> the head, and what to log.
    """
    if run.bits >= len(images):
        raise UsageError(
            f"{options.method} cannot make {run.bits} bits from {len(images)} images",
            hint="give more images than bits, or fewer --bits",
        )
    features = run.features(images, encoder, fixed_views(range(options.orientations)))
    head, record = make(features)
    hash_function = HashFunction(
        encoder.cpu(), head, method=options.method, orientations=options.orientations
    ).eval()
    if run.folder is not None:
        with torch.no_grad():
            balance = BitBalance.of(hash_function.from_features(features))
        write_log(run.folder / LOG, [{**record, **vars(balance)}])
    return hash_function


def require_features(encoder: Encoder, options: MethodOptions, bits: int) -> None:
    """Raises UsageError where the encoder gives fewer features than bits are wanted."""
    if bits > encoder.dim:
        raise UsageError(
            f"{options.method} cannot make {bits} bits from {encoder.dim} features",
            hint="give fewer --bits or a larger --encoder",
        )


def unit_mean(features: Tensor) -> np.ndarray:
    """Features (N, V, dim) scaled to unit length, averaged over the views: float64 (N, dim)."""
    return functional.normalize(features.double(), dim=2).mean(dim=1).numpy()

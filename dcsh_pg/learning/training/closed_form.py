"""What methods share that fit one head to features of a frozen encoder, without epochs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.codes import check_bits
from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.features import FeatureCache, extract, fixed_views
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.bit_balance import BitBalance
from dcsh_pg.learning.training.trainer import LOG, write_log
from dcsh_pg.progress import SILENT, Progress

ORIENTATIONS = (1, 4, 8)


def check_orientations(orientations: int) -> None:
    """Raises UsageError where a hash function cannot average over so many."""
    if orientations not in ORIENTATIONS:
        raise UsageError(
            f"--orientations {orientations} is not known",
            hint=f"one of: {', '.join(map(str, ORIENTATIONS))}",
        )


def fit_head(
    images: np.ndarray,
    encoder: Encoder,
    make: Callable[[Tensor], tuple[nn.Module, dict[str, Any]]],
    *,
    method: str,
    bits: int,
    orientations: int = 1,
    device: torch.device | str = "cpu",
    cache: FeatureCache | Path | None = None,
    run: Path | None = None,
    progress: Progress = SILENT,
) -> HashFunction:
    """A hash function whose head is made in one go.

    Args:
        images: uint8 (N, S, S, C).
        make: features float32 (N, orientations, dim) -> the head, and what to log.
        run: folder for log.jsonl, or None.

    Raises:
        UsageError: as many bits as images, or more.
        OutputError: ``cache`` or ``run`` cannot be written.
    """
    check_bits(bits)
    if bits >= len(images):
        raise UsageError(
            f"{method} cannot make {bits} bits from {len(images)} images",
            hint="give more images than bits, or fewer --bits",
        )
    features = torch.from_numpy(
        extract(
            images,
            encoder,
            views=fixed_views(range(orientations)),
            cache=cache,
            device=device,
            progress=progress,
        )
    )
    head, record = make(features)
    hash_function = HashFunction(
        encoder.cpu(), head, method=method, orientations=orientations
    ).eval()
    if run is not None:
        with torch.no_grad():
            balance = BitBalance.of(hash_function.from_features(features))
        write_log(run / LOG, [{**record, **vars(balance)}])
    return hash_function


def unit_mean(features: Tensor) -> np.ndarray:
    """Features (N, V, dim), each scaled to unit length, averaged over the views: float64 (N, dim)."""
    return functional.normalize(features.double(), dim=2).mean(dim=1).numpy()

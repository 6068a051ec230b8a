"""The optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


def adam(groups: Iterable[dict[str, Any]], device: torch.device) -> torch.optim.Adam:
    """Fused Adam where there is one, on CPU and CUDA: one pass over the parameters in a step.

    Args:
        groups: of parameters on ``device``, each with its ``lr``.
    """
    return torch.optim.Adam(groups, fused=device.type in ("cpu", "cuda"))

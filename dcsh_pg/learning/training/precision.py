"""Number formats of the training loop: bfloat16 where it is faster, no denormal numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dcsh_pg.learning.model.device import has_matrix_units


def mixed_precision(device: torch.device, *, enabled: bool = True) -> torch.autocast:
    """Runs forward passes of the block in bfloat16 where that is safe and faster: on CUDA, and on
    processors with matrix units for it (AMX)."""
    fast = device.type == "cuda" or (device.type == "cpu" and has_matrix_units())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled and fast)


@contextmanager
def without_denormals() -> Iterator[None]:
    """Makes the CPU treat numbers below 1e-38 as 0 in the block.

    Where tanh is saturated, gradients become denormal numbers, which processors compute many times
    more slowly: late epochs would be slower than early ones.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)

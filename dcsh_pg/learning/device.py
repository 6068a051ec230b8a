"""Where PyTorch runs, and how it is brought there without waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dcsh_pg.errors import UsageError


def choose(device: str) -> torch.device:
    """'auto' (CUDA where it is usable), 'cpu' or 'cuda' -> a device.

    Raises:
        UsageError: another word, or 'cuda' where there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"no device is called {device!r}", hint="auto, cpu or cuda")
    usable = torch.cuda.is_available()
    if device == "cuda" and not usable:
        raise UsageError("PyTorch finds no usable CUDA device", hint="use --device cpu")
    return torch.device("cuda" if usable and device != "cpu" else "cpu")


def memory_format(device: torch.device) -> torch.memory_format:
    """The order of dimensions in which the device's convolutions are fastest."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def mixed_precision(device: torch.device, *, enabled: bool = True) -> torch.autocast:
    """Inside, forward passes run in bfloat16 where that is safe, and where the device is faster for
    it: on CUDA, and on processors with matrix units for it (AMX)."""
    fast = device.type == "cuda" or (device.type == "cpu" and _has_matrix_units())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled and fast)


def _has_matrix_units() -> bool:
    """Whether the processor multiplies matrices of bfloat16; not known before PyTorch 2.6."""
    return getattr(torch.cpu, "_is_amx_tile_supported", bool)()


@contextmanager
def without_denormals() -> Iterator[None]:
    """Inside, the CPU takes numbers below 1e-38 for 0.

    Where tanh is saturated gradients die out, and what is left of them are numbers for which
    a processor takes many times as long: late epochs would be slower than early ones.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on the device; through pinned memory, so that the host does not wait for CUDA."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)

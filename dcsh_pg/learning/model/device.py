"""The device that PyTorch runs on, and how tensors get there."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dcsh_pg.errors import UsageError


def choose(device: str) -> torch.device:
    """'auto' (CUDA where it is usable), 'cpu' or 'cuda' -> a device.

    Raises:
        UsageError: another name, or 'cuda' where it is not usable.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {device!r}", hint="use auto, cpu or cuda")
    usable = torch.cuda.is_available()
    if device == "cuda" and not usable:
        raise UsageError("PyTorch finds no usable CUDA device", hint="use --device cpu")
    return torch.device("cuda" if usable and device != "cpu" else "cpu")


def memory_format(device: torch.device) -> torch.memory_format:
    """The memory format in which the device's convolutions are fastest."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copies a CPU tensor to the device; to CUDA from pinned memory, so that the host does not wait."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def receive(tensor: Tensor) -> Callable[[], Tensor]:
    """Copies a tensor to the CPU; what is returned waits for the copy and returns it.

    From CUDA into pinned memory, so that the host can send more work meanwhile.
    """
    if tensor.device.type != "cuda":
        return tensor.cpu
    copied = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    copied.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event()
    done.record()

    def wait() -> Tensor:
        done.synchronize()
        return copied

    return wait


def has_matrix_units() -> bool:
    """Whether the processor has units for matrices of bfloat16 (AMX); unknown before PyTorch 2.6."""
    return getattr(torch.cpu, "_is_amx_tile_supported", bool)()

"""Where PyTorch runs."""

from __future__ import annotations

import torch

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

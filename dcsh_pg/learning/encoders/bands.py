"""Imagery with other than three bands, for networks that take three."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def with_bands(network: nn.Module, bands: int) -> nn.Module:
    """The network; for other than three bands its first convolution is replaced by a random one."""
    if bands == 3:
        return network
    name = first_convolution(network)
    old: Any = network.get_submodule(name)
    parent, _, leaf = name.rpartition(".")
    new = nn.Conv2d(
        bands, old.out_channels, old.kernel_size, old.stride, old.padding, bias=old.bias is not None
    )
    setattr(network.get_submodule(parent), leaf, new)
    return network


def repeat_bands(state: dict[str, Tensor], network: nn.Module, bands: int) -> dict[str, Tensor]:
    """The state dict with its three-band first convolution repeated over ``bands``, scale kept."""
    key = f"{first_convolution(network)}.weight"
    kernel = state.get(key)
    if kernel is None or kernel.shape[1] != 3 or bands == 3:
        return state
    source = torch.arange(bands) % 3
    return {**state, key: kernel[:, source] * (3 / bands)}


def first_convolution(network: nn.Module) -> str:
    """Name of the first convolution within the network."""
    modules: Iterator[tuple[str, nn.Module]] = network.named_modules()
    return next(name for name, module in modules if isinstance(module, nn.Conv2d))

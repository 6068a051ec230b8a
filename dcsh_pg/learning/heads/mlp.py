"""The head of fully connected layers: DCSH's hash layer, and every linear method's."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.codes import check_bits


class MLPHead(nn.Module):
    """Features (N, dim) -> z (N, bits): Linear layers with ReLU between.

    Attributes:
        dim: length of the features.
        bits: K.
        hidden: widths of the layers before the last.
        l2_normalize: whether features are first scaled to unit length.
        layers: Linear, ReLU, ..., Linear.
        norm: BatchNorm1d over z, or Identity where there is none.
    """

    KIND = "mlp"

    def __init__(
        self,
        dim: int,
        bits: int,
        *,
        hidden: Sequence[int] = (),
        batch_norm: bool = False,
        l2_normalize: bool = False,
    ):
        super().__init__()
        self.dim, self.bits, self.hidden = dim, check_bits(bits), tuple(hidden)
        self.l2_normalize = l2_normalize
        widths = [dim, *self.hidden, bits]
        layers: list[nn.Module] = []
        for before, width in itertools.pairwise(widths):
            layers += [nn.Linear(before, width), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.norm = nn.BatchNorm1d(bits) if batch_norm else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        return self.norm(self.project(features))

    def project(self, features: Tensor) -> Tensor:
        """z before BatchNorm."""
        if self.l2_normalize:
            features = functional.normalize(features, dim=1)
        return self.layers(features)

    @torch.no_grad()
    def calibrate(self, projected: Tensor) -> None:
        """Sets BatchNorm's statistics to those of z before it, (N, bits).

        Running averages over augmented batches lag behind in short trainings, and then bits that
        are balanced in training are not when images get their code.
        """
        if self.batch_norm:
            self.norm.running_mean.copy_(projected.mean(dim=0))
            self.norm.running_var.copy_(projected.var(dim=0))

    @property
    def batch_norm(self) -> bool:
        """Whether BatchNorm stands after the last Linear."""
        return isinstance(self.norm, nn.BatchNorm1d)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build this head again, without its weights."""
        return {
            "dim": self.dim,
            "bits": self.bits,
            "hidden": self.hidden,
            "batch_norm": self.batch_norm,
            "l2_normalize": self.l2_normalize,
        }

    @torch.no_grad()
    def fold(self) -> None:
        """Puts BatchNorm into the last Linear, in place; z stays the same up to rounding."""
        if self.batch_norm:
            linear, norm = self.layers[-1], self.norm
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            linear.weight.mul_(scale[:, None])
            linear.bias.copy_((linear.bias - norm.running_mean) * scale + norm.bias)
            self.norm = nn.Identity()

    @classmethod
    def linear(cls, weight: np.ndarray, bias: np.ndarray, *, l2_normalize: bool = False) -> MLPHead:
        """One Linear layer with these weights (bits, dim) and biases (bits,)."""
        head = cls(weight.shape[1], weight.shape[0], l2_normalize=l2_normalize)
        with torch.no_grad():
            head.layers[0].weight.copy_(torch.from_numpy(weight))
            head.layers[0].bias.copy_(torch.from_numpy(bias))
        return head

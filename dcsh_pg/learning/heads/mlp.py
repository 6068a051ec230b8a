"""The head of fully connected layers: DCSH's hash layer, and every linear method's."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.codes import check_bits
from dcsh_pg.learning.heads.head import Head


class MLPHead(Head):
    """Features (N, dim) -> z (N, bits): Linear layers with ReLU between.

    Attributes:
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
        self.dim, self.bits, self.l2_normalize = dim, check_bits(bits), l2_normalize
        self.config = {
            "dim": dim,
            "bits": bits,
            "hidden": tuple(hidden),
            "batch_norm": batch_norm,
            "l2_normalize": l2_normalize,
        }
        self.layers = linear_layers([dim, *hidden, bits])
        self.norm: nn.Module = nn.BatchNorm1d(bits) if batch_norm else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        z: Tensor = self.norm(self.project(features))
        return z

    def project(self, features: Tensor) -> Tensor:
        """z before BatchNorm."""
        if self.l2_normalize:
            features = functional.normalize(features, dim=1)
        z: Tensor = self.layers(features)
        return z

    @torch.no_grad()
    def calibrate(self, projected: Tensor) -> None:
        """Sets BatchNorm's statistics to those of its inputs, (N, bits).

        Running averages over augmented batches lag behind in short trainings, and then bits that
        are balanced in training are unbalanced when images are hashed.
        """
        if isinstance(self.norm, nn.BatchNorm1d):
            _, _, running_mean, running_var = _statistics(self.norm)
            running_mean.copy_(projected.mean(dim=0))
            running_var.copy_(projected.var(dim=0))

    @property
    def last(self) -> nn.Linear:
        """The last Linear layer."""
        layer = self.layers[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    @torch.no_grad()
    def fold(self) -> None:
        """Merges BatchNorm into the last Linear, in place; z stays the same up to rounding."""
        if isinstance(self.norm, nn.BatchNorm1d):
            weight, bias, mean, variance = _statistics(self.norm)
            scale = weight / torch.sqrt(variance + self.norm.eps)
            self.last.weight.mul_(scale[:, None])
            self.last.bias.copy_((self.last.bias - mean) * scale + bias)
            self.norm = nn.Identity()
            self.config["batch_norm"] = False

    @classmethod
    def linear(cls, weight: np.ndarray, bias: np.ndarray, *, l2_normalize: bool = False) -> MLPHead:
        """One Linear layer with these weights (bits, dim) and biases (bits,)."""
        head = cls(weight.shape[1], weight.shape[0], l2_normalize=l2_normalize)
        with torch.no_grad():
            head.last.weight.copy_(torch.from_numpy(weight))
            head.last.bias.copy_(torch.from_numpy(bias))
        return head


def linear_layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers from width to width, with ReLU between."""
    layers: list[nn.Module] = []
    for before, width in itertools.pairwise(widths):
        layers += [nn.Linear(before, width), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _statistics(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weight, bias, running mean and variance of a BatchNorm that keeps them, as ours does."""
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.weight, norm.bias, norm.running_mean, norm.running_var

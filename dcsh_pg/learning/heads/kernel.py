"""The kernel head: similarities to anchors, then one linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.codes import check_bits
from dcsh_pg.learning.heads.head import Head


class KernelHead(Head):
    """Features (N, dim) -> z (N, bits) = W (kappa(x, anchors) - centre) - threshold.

    kappa is the Gaussian kernel exp(-|x - a|² / (2 sigma²)).  Kernels are computed in double
    precision: W undoes what they have in common, up to 1e4 times, and single precision would leave
    bits to rounding.

    Attributes:
        l2_normalize: whether features are first scaled to unit length.
        points: the anchors, float32 (p, dim).
        sigma: float32 scalar, the kernel's width.
        centre: subtracted from each kernel row, float32 (p,).
        linear: W and minus the thresholds.
    """

    KIND = "kernel"
    points: Tensor
    sigma: Tensor
    centre: Tensor

    def __init__(self, dim: int, bits: int, *, anchors: int, l2_normalize: bool = False):
        super().__init__()
        self.dim, self.bits, self.l2_normalize = dim, check_bits(bits), l2_normalize
        self.config = dict(dim=dim, bits=bits, anchors=anchors, l2_normalize=l2_normalize)
        self.register_buffer("points", torch.zeros(anchors, dim))
        self.register_buffer("sigma", torch.ones(()))
        self.register_buffer("centre", torch.zeros(anchors))
        self.linear = nn.Linear(anchors, bits)

    def forward(self, features: Tensor) -> Tensor:
        if self.l2_normalize:
            features = functional.normalize(features, dim=1)
        weight, bias = self.linear.weight.double(), self.linear.bias.double()
        rows = self.kernel(features) - self.centre.double()
        return functional.linear(rows, weight, bias).float()

    def kernel(self, features: Tensor) -> Tensor:
        """Kernel rows, float64 (N, p), of features as they are compared with the anchors."""
        features, points = features.double(), self.points.double()
        squares = features.square().sum(dim=1, keepdim=True) + points.square().sum(dim=1)
        distances = (squares - 2 * features @ points.T).clamp(min=0)
        return torch.exp(-distances / (2 * self.sigma.double().square()))

"""The quantization term of DCSH's loss (Remote Sensing 2022, 14, 3643, section 3.4)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Reduction = Literal["mean", "sum"]


def quantization(first: Tensor, second: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Squared distance of h to the nearest corner of the cube (eq. 13), the mean over M pairs.

    Args:
        first, second: hash-like features h of the two views, float (M, K).
        reduction: over the K bits.  'sum' is eq. 13 as printed, and at 64 bits outweighs the
            contrastive term until the codes collapse; 'mean' divides it by K.

    Returns:
        float scalar.
    """
    distance = (first.abs() - 1).square() + (second.abs() - 1).square()
    over_bits = distance.mean(dim=1) if reduction == "mean" else distance.sum(dim=1)
    return over_bits.mean() / 2

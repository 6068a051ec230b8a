"""Bit balance: whether every bit of a code distinguishes images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dcsh_pg.errors import TrainingError

CONSTANT = 0.98
"""A bit is constant where |mean of its -1 and +1| exceeds this: 99 % of images agree on it."""
MAX_CONSTANT_SHARE = 0.05
GRACE_EPOCHS = 5
"""Epochs before bits are checked: at the start z is almost the same for all images."""


@dataclass(frozen=True)
class BitBalance:
    """Balance of the bits of a set of codes.

    Attributes:
        bits: K.
        mean_abs: mean over the bits of |mean of the bit as -1 and +1|; 0 is perfect balance.
        constant: number of constant bits, see ``CONSTANT``.
        entropy: mean entropy of a bit, 0 to 1.
    """

    bits: int
    mean_abs: float
    constant: int
    entropy: float

    @classmethod
    def of(cls, z: Tensor) -> BitBalance:
        """Balance of the codes of z, float (N, K)."""
        ones = (z >= 0).double().mean(dim=0)
        skew = (2 * ones - 1).abs()
        entropy = torch.special.entr(ones) + torch.special.entr(1 - ones)
        return cls(
            bits=z.shape[1],
            mean_abs=round(skew.mean().item(), 4),
            constant=int((skew > CONSTANT).sum()),
            entropy=round(entropy.mean().item() / torch.tensor(2.0).log().item(), 4),
        )

    def check(self) -> None:
        """Checks that the codes have not collapsed.

        Raises:
            TrainingError: more than 5 % of the bits are constant.
        """
        if self.constant > MAX_CONSTANT_SHARE * self.bits:
            raise TrainingError(
                f"the codes have collapsed: {self.constant} of {self.bits} bits are the same for "
                "99 % of the images",
                hint="keep the defaults quantization=mean and batch_norm=true, lower alpha, or give "
                "more varied images; docs/methods.md explains why this happens",
            )

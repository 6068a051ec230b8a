"""The topic head: mixtures of topics (pLSA) inferred by a fixed number of steps."""

from __future__ import annotations

import torch
from torch import Tensor

from dcsh_pg.codes import check_bits
from dcsh_pg.learning.heads.head import Head

_TINY = 1e-12
"""Floor of divisors.  It is not added to them: torch's exporter simplifies such a sum to its first
term, and an image without features would give 0 / 0."""


class TopicHead(Head):
    """Features (N, dim) >= 0 -> z (N, bits): shares of topics above their thresholds.

    The features count as frequencies n(w) of ``dim`` words.  In each of ``groups`` independent
    topic models of K / groups topics the shares P(z) of an unseen image start uniform and take
    ``steps`` of EM with P(w|z) fixed (fold-in, Hofmann 1999):

        P(z)  <-  P(z) sum_w n(w) P(w|z) / sum_z' P(w|z') P(z')

    with n scaled to sum 1.  z is the share minus its threshold.

    Attributes:
        bits: K, topics of all groups together.
        steps: see above.
        words: P(w|z), float32 (groups, K / groups, dim); rows sum to 1.
        thresholds: float32 (bits,).
    """

    KIND = "topics"
    words: Tensor
    thresholds: Tensor

    def __init__(self, dim: int, bits: int, *, groups: int, steps: int):
        super().__init__()
        self.dim, self.bits, self.steps = dim, check_bits(bits), steps
        self.config = dict(dim=dim, bits=bits, groups=groups, steps=steps)
        self.register_buffer("words", torch.full((groups, bits // groups, dim), 1 / dim))
        self.register_buffer("thresholds", torch.zeros(bits))

    def forward(self, features: Tensor) -> Tensor:
        return self.shares(features) - self.thresholds

    def shares(self, features: Tensor) -> Tensor:
        """P(z) of each group beside each other, (N, bits)."""
        counts = features.clamp(min=0)
        counts = counts / counts.sum(dim=1, keepdim=True).clamp(min=_TINY)
        shares = []
        for words in self.words.unbind(0):
            topics = words.shape[0]
            share = counts.new_full((1, topics), 1 / topics) + 0 * counts[:, :1]
            for _ in range(self.steps):
                share = share * ((counts / (share @ words).clamp(min=_TINY)) @ words.T)
                share = share / share.sum(dim=1, keepdim=True).clamp(min=_TINY)
            shares.append(share)
        return torch.cat(shares, dim=1)

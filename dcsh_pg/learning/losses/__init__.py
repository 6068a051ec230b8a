"""Losses of the deep methods, one a file; all take hash-like features h in [-1, 1]."""

from dcsh_pg.learning.losses.contrastive import nt_xent
from dcsh_pg.learning.losses.corners import Reduction, quantization
from dcsh_pg.learning.losses.pairwise import pair_likelihood, pair_regression

__all__ = ["Reduction", "nt_xent", "pair_likelihood", "pair_regression", "quantization"]

"""Losses of the deep methods, one a file; all take hash-like features h in [-1, 1]."""

from dcsh_pg.learning.losses.contrastive import nt_xent
from dcsh_pg.learning.losses.pairwise import pair_likelihood, pair_regression
from dcsh_pg.learning.losses.quantization import Reduction, quantization

__all__ = ["Reduction", "nt_xent", "pair_likelihood", "pair_regression", "quantization"]

"""Schedules over the epochs."""

from __future__ import annotations

import math


def beta(epoch: int, epochs: int, *, stages: int = 10) -> float:
    """Sharpness of tanh(beta z): 1, 2, ... ``stages`` over as many equal stages (DCSH section 3.5).

    The paper starts at 1, ends at 10 and enlarges it whenever training has converged; stages of
    equal length stand for that, with one optimiser throughout.

    Args:
        epoch: from 0 to ``epochs`` - 1.
    """
    return 1.0 + epoch * stages // epochs


def cosine(epoch: int, epochs: int) -> float:
    """Factor of the learning rate, falling from 1 towards 0 along half a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))

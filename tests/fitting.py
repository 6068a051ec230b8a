"""Fits a method with its default options, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.options import MethodOptions
from dcsh_pg.learning.training.run import Run
from dcsh_pg.methods import Method


def fit(
    method: Method,
    images: np.ndarray,
    encoder: Encoder,
    *,
    options: MethodOptions | None = None,
    **run: Any,
) -> HashFunction:
    """``method.fit`` with the fields of a ``Run``."""
    return method.fit(images, encoder, options or method.Options(), Run(**run))

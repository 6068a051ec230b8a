"""Random splits into database and queries, the same share of every class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcsh_pg.errors import InputError


@dataclass(frozen=True, eq=False)
class Split:
    """Sorted indices, disjoint.

    Attributes:
        database: int64 (N,), what hash functions are fitted to and what is searched.
        queries: int64 (Q,).
    """

    database: np.ndarray
    queries: np.ndarray


def stratified(labels: Sequence[str], share: float, seed: int) -> Split:
    """Draws ``share`` of each class for the database, at random by ``seed``.

    The draw depends on how the images are grouped and on their order, not on the classes' names.

    Raises:
        InputError: a class is too small to be in both parts.
    """
    random = np.random.default_rng(seed)
    _, first, classes = np.unique(labels, return_index=True, return_inverse=True)
    database: list[np.ndarray] = []
    queries: list[np.ndarray] = []
    for number in np.argsort(first):
        members = random.permutation(np.flatnonzero(classes == number))
        kept = round(share * len(members))
        if not 0 < kept < len(members):
            count = f"{len(members)} image{'s' * (len(members) != 1)}"
            raise InputError(
                f"class {labels[members[0]]!r} has {count}, too few to split with --share {share:g}",
                hint="give each class a few images, or another --share",
            )
        database.append(members[:kept])
        queries.append(members[kept:])
    return Split(np.sort(np.concatenate(database)), np.sort(np.concatenate(queries)))

"""Hashing methods, one a file; each ends in the same kind of hash function.

A method's module has ``Options``, a dataclass, and ``fit``:

    fit(images, encoder, *, bits, seed, options, device, cache, run, resume, progress)
        -> HashFunction

with images uint8 (N, S, S, C) and no labels anywhere.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from dcsh_pg.errors import UsageError

SUMMARIES = {
    "dcsh": "deep, contrastive: views and neighbours of an image get like codes",
    "spl_udh": "deep, soft pseudo-labels of an auto-encoder (our reconstruction)",
    "psch": "deep, pseudo-labels of k-means and likeness of parts (our reconstruction)",
    "itq": "principal components, rotated towards the corners of the cube",
    "lsh": "random hyperplanes",
    "dsh": "hyperplanes between neighbouring clusters",
    "kulsh": "random hyperplanes in kernel space",
    "prh": "decoder of a random layer (our reconstruction)",
    "plsh": "shares of latent topics (our reconstruction)",
}
NAMES = tuple(SUMMARIES)
DEEP = ("dcsh", "spl_udh", "psch")
"""Methods that train in epochs; the others fit a head to features in one go."""


def get(name: str) -> ModuleType:
    """The module of a method; imported only now, because it needs torch.

    Raises:
        UsageError: no method has that name.
    """
    if name not in NAMES:
        raise UsageError(f"no method is called {name!r}", hint=f"one of: {', '.join(NAMES)}")
    return import_module(f"dcsh_pg.methods.{name}")

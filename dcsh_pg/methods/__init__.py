"""Hashing methods, one a file: a module with ``Options``, a dataclass, and ``fit``.

Every module of this package is the method of its name, so that a new file is a new method.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol, cast

from dcsh_pg.errors import UsageError
from dcsh_pg.plugins import METHODS

if TYPE_CHECKING:
    import numpy as np

    from dcsh_pg.learning.encoders import Encoder
    from dcsh_pg.learning.model.hash_function import HashFunction
    from dcsh_pg.learning.training.options import MethodOptions
    from dcsh_pg.learning.training.run import Run


class Method(Protocol):
    """What a method's module has.

    Attributes:
        Options: the dataclass of its options.
    """

    Options: type[MethodOptions]

    def fit(self, images: np.ndarray, encoder: Encoder, options: Any, run: Run) -> HashFunction:
        """Fits a hash function to unlabelled images.

        Args:
            images: (N, S, S, C), uint8 or the type of ``encoder.pixels``.
            encoder: with the weights to start from; trained in place if ``options.trains_encoder``.
            options: an instance of ``Options``.

        Returns:
            The hash function, on the CPU and in evaluation mode.

        Raises:
            UsageError: too few images or features for that many bits, or the checkpoint is of
                another training.
            TrainingError: a loss that is not finite, or collapsed codes.
            InputError: the checkpoint cannot be read.
            OutputError: ``run.cache`` or ``run.folder`` cannot be written.
        """


def get(name: str) -> Method:
    """A method: built in, of an installed package, or MODULE:NAME; imports torch.

    Raises:
        UsageError: no method has that name, or it is not one.
        DcshError: the package that adds it cannot be imported.
    """
    method = METHODS.load(name)
    if not (hasattr(method, "Options") and hasattr(method, "fit")):
        raise UsageError(
            f"the method {name!r} lacks Options or fit", hint="see 'A method' in CONTRIBUTING.md"
        )
    return cast(Method, method)


def choose_options(
    method: str, *, weights: str = "none", freeze: bool | None = None, **given: Any
) -> MethodOptions:
    """A method's options: its defaults for an encoder with these weights, and what is given.

    Args:
        freeze: whether the encoder stays as it is; None lets the method choose.
        given: fields of the options; None leaves the default.

    Raises:
        UsageError: the method has no such option, or a value is out of range.
    """
    kind = get(method).Options
    changes = {name: value for name, value in given.items() if value is not None}
    kind.check_names([*changes])
    return dataclasses.replace(kind.defaults(weights=weights, freeze=freeze), **changes)

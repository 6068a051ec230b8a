"""The torch module that every head is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn


class Head(nn.Module):
    """Features float32 (N, dim) -> z float32 (N, bits).

    Attributes:
        KIND: its name in files; of a head of another package, 'MODULE:NAME' of its class.
        dim: length of the features.
        bits: K.
        config: the arguments that build it again, without its weights.
    """

    KIND: ClassVar[str]
    dim: int
    bits: int
    config: dict[str, Any]
    if TYPE_CHECKING:

        def __call__(self, features: Tensor) -> Tensor: ...

    def fold(self) -> None:
        """Prepares for export, in place: the same z in fewer steps."""

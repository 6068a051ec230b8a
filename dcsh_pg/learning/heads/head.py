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
    """

    KIND: ClassVar[str]
    dim: int
    bits: int
    if TYPE_CHECKING:

        def __call__(self, features: Tensor) -> Tensor: ...

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build it again, without its weights."""
        raise NotImplementedError

    def fold(self) -> None:
        """Prepares for export, in place: the same z in fewer steps."""

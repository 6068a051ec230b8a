"""Heads: features float32 (N, dim) -> z float32 (N, bits), one kind a file.

A head is a torch module with

    KIND      its name in files
    dim       length of the features
    bits      K
    config    the arguments that build it again, without its weights
    fold()    makes it ready for export, in place: the same z in fewer steps
"""

from __future__ import annotations

from typing import Any

from torch import nn

from dcsh_pg.errors import ModelError
from dcsh_pg.learning.heads.kernel import KernelHead
from dcsh_pg.learning.heads.mlp import MLPHead
from dcsh_pg.learning.heads.topics import TopicHead

_KINDS = {kind.KIND: kind for kind in (MLPHead, KernelHead, TopicHead)}


def build(kind: str, config: dict[str, Any]) -> nn.Module:
    """A head with random or empty weights.

    Raises:
        ModelError: no head is of that kind.
    """
    if kind not in _KINDS:
        raise ModelError(
            f"a head of kind {kind!r} is not known",
            hint="the file was written by another version of dcsh-pg",
        )
    return _KINDS[kind](**config)


__all__ = ["KernelHead", "MLPHead", "TopicHead", "build"]

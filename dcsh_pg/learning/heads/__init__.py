"""Heads: features float32 (N, dim) -> z float32 (N, bits), one kind a file."""

from __future__ import annotations

from typing import Any

from dcsh_pg.errors import ModelError
from dcsh_pg.learning.heads.head import Head as Head
from dcsh_pg.learning.heads.kernel import KernelHead as KernelHead
from dcsh_pg.learning.heads.mlp import MLPHead as MLPHead
from dcsh_pg.learning.heads.topics import TopicHead as TopicHead
from dcsh_pg.plugins import import_address

_KINDS: dict[str, type[Head]] = {kind.KIND: kind for kind in (MLPHead, KernelHead, TopicHead)}


def build(kind: str, config: dict[str, Any]) -> Head:
    """A head with random or empty weights.

    Args:
        kind: its class's ``KIND``.

    Raises:
        ModelError: there is no such class.
    """
    made = _KINDS.get(kind) or import_address(kind)
    if not (isinstance(made, type) and issubclass(made, Head)):
        raise ModelError(
            f"unknown kind of head {kind!r}",
            hint="install the package that adds the method, or the dcsh-pg that wrote the file",
        )
    return made(**config)

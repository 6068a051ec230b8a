"""The architecture behind an encoder's name."""

from __future__ import annotations

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import from_onnx, from_timm
from dcsh_pg.learning.encoders.architecture import Architecture
from dcsh_pg.plugins import ENCODERS


def find(name: str) -> Architecture:
    """The architecture of an encoder: built in, of an installed package, of timm, an ONNX file, or
    MODULE:NAME.

    Raises:
        InputError, ModelError: as :func:`from_onnx.find` of a file.
        UsageError: no encoder has that name, or timm, which has it, is not installed.
        DcshError: the package that adds it cannot be imported.
    """
    if name.startswith(from_timm.PREFIX):
        return from_timm.find(name.removeprefix(from_timm.PREFIX))
    if name.startswith(from_onnx.PREFIX):
        return from_onnx.find(name.removeprefix(from_onnx.PREFIX))
    found = ENCODERS.load(name)
    if not isinstance(found, Architecture):
        raise UsageError(
            f"the encoder {name!r} is {type(found).__name__}, not an Architecture",
            hint="see 'An encoder' in CONTRIBUTING.md",
        )
    return found

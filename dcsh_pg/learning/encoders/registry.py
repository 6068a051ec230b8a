"""The architecture behind an encoder's name."""

from __future__ import annotations

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import from_onnx, from_open_clip, from_timm, from_torchgeo
from dcsh_pg.learning.encoders.architecture import Architecture
from dcsh_pg.plugins import ENCODERS


def find(name: str) -> Architecture:
    """The architecture of an encoder: built in, of an installed package, an ONNX file, of timm,
    torchgeo or open_clip, or MODULE:NAME.

    Raises:
        InputError, ModelError: as :func:`from_onnx.find` of a file.
        UsageError: no encoder has that name, or the package that has it is not installed.
        DcshError: the package that adds it cannot be imported.
    """
    for source in (from_onnx, from_timm, from_torchgeo, from_open_clip):
        if name.startswith(source.PREFIX):
            architecture: Architecture = source.find(name.removeprefix(source.PREFIX))
            return architecture
    found = ENCODERS.load(name)
    if not isinstance(found, Architecture):
        raise UsageError(
            f"the encoder {name!r} is {type(found).__name__}, not an Architecture",
            hint="see 'An encoder' in CONTRIBUTING.md",
        )
    return found

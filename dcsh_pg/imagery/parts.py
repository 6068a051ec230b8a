"""Addresses of scenes that consist of several files: /data/item/{B02,B03,B04:1-1000}.tif.

Each entry is a name, which replaces the braces; behind ':' a band of that file, 1 without it; behind that what is
added to its values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dcsh_pg.errors import InputError

_ADDRESS = re.compile(r"(?P<before>[^{}]*)\{(?P<entries>[^{}]+)\}(?P<after>[^{}]*)\Z", re.DOTALL)
_ENTRY = re.compile(r"(?P<name>[^{}:,]+)(?::(?P<band>[1-9]\d{0,4})(?P<offset>[+-]\d{1,9})?)?")


@dataclass(frozen=True)
class Part:
    """One band of a file.

    Attributes:
        uri: path, URL or GDAL name of the file.
        band: counted from 1.
        offset: what is added to its values.
    """

    uri: str
    band: int = 1
    offset: int = 0


def is_parts(uri: str) -> bool:
    """Whether an address names several files, and no file has it as its name."""
    match = _ADDRESS.match(uri)
    if not match or os.path.lexists(uri):
        return False
    return all(map(_ENTRY.fullmatch, match["entries"].split(",")))


def parse_parts(uri: str) -> list[Part]:
    """The parts of an address for which :func:`is_parts` holds."""
    match = _ADDRESS.match(uri)
    assert match
    entries = [_ENTRY.fullmatch(entry) for entry in match["entries"].split(",")]
    return [
        Part(
            match["before"] + entry["name"] + match["after"],
            int(entry["band"] or 1),
            int(entry["offset"] or 0),
        )
        for entry in entries
        if entry
    ]


def files_of(uri: str) -> list[str]:
    """The files of an address, each once: the address itself where it is of one file."""
    return list(dict.fromkeys(part.uri for part in parse_parts(uri))) if is_parts(uri) else [uri]


def parts_address(parts: Sequence[Part]) -> str:
    """The address of parts.

    Raises:
        InputError: a name that cannot be written in it.
    """
    first, last = (which(part.uri for part in parts) for which in (min, max))  # differ the earliest
    common = next(
        (n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
    )
    before = first[: first.rfind("/", 0, common) + 1]
    endings = {os.path.splitext(part.uri)[1] for part in parts}
    after = endings.pop() if len(endings) == 1 else ""
    entries = []
    for part in parts:
        name = part.uri[len(before) : len(part.uri) - len(after)]
        number = f":{part.band}" if part.band != 1 or part.offset else ""
        entries.append(f"{name}{number}{part.offset:+d}" if part.offset else f"{name}{number}")
    uri = f"{before}{{{','.join(entries)}}}{after}"
    if not is_parts(uri) or parse_parts(uri) != list(parts):
        raise InputError(
            f"{parts[0].uri}: a file with {{ }} : or , in its name, or in another place than the others, "
            "cannot be read together with them",
            hint="rename it, or stack the bands: gdalbuildvrt -separate, gdal_translate -of COG",
        )
    return uri

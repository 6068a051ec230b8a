"""Footprints as PostgreSQL prints them, as well-known binary; needs no QGIS."""

from __future__ import annotations

import struct

_SRID_FLAG = 0x20000000
_POLYGON = 3


def wkb(text: str | None) -> bytes | None:
    """A footprint as hexadecimal EWKB (PostGIS) or as PostgreSQL's polygon, or None, as WKB."""
    if text is None:
        return None
    if text.startswith("("):
        return _polygon(text)
    content = bytes.fromhex(text)
    order = "<" if content[0] else ">"
    (kind,) = struct.unpack_from(f"{order}I", content, 1)
    if not kind & _SRID_FLAG:
        return content
    return content[:1] + struct.pack(f"{order}I", kind & ~_SRID_FLAG) + content[9:]


def _polygon(text: str) -> bytes:
    numbers = [float(number) for number in text.replace("(", "").replace(")", "").split(",")]
    ring = [*numbers, *numbers[:2]]
    return struct.pack(f"<BIII{len(ring)}d", 1, _POLYGON, 1, len(ring) // 2, *ring)

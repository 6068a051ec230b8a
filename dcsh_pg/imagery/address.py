"""Addresses of scenes that the database can store."""

from __future__ import annotations

import hashlib

from dcsh_pg.errors import InputError, storable

MAX_ADDRESS = 2000
"""Bytes of a path, URL or GDAL name; a PostgreSQL index row holds about 2,700."""

_KEPT = 500


def address_error(uri: str) -> InputError | None:
    """Why the database cannot store an address, or None."""
    if storable(uri) != uri:
        return InputError(
            f"{shortened(uri)}: the name is not UTF-8 and cannot be stored",
            hint="rename it: convmv -f latin1 -t utf8, for example",
        )
    length = len(uri.encode())
    if length > MAX_ADDRESS:
        return InputError(
            f"{shortened(uri)}: the address has {length:,} bytes, more than {MAX_ADDRESS:,}",
            hint="move or link it to a shorter path",
        )
    return None


def shortened(address: str) -> str:
    """An address to record a failure under: a long one is cut and ends with its digest."""
    address = storable(address)
    if len(address.encode()) <= MAX_ADDRESS:
        return address
    return f"{address[:_KEPT]}...{hashlib.sha256(address.encode()).hexdigest()[:16]}"

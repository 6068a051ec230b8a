"""Packed codes, and their bit order.

A code has K bits, K a multiple of 8 from 16 to 1024.  In Python a batch of codes is a ``uint8``
array of shape (N, K/8), most significant bit first, so that its bytes are those of PostgreSQL's
``bit(K)`` in binary COPY.  Bit k is 1 where z_k >= 0
(DCSH eq. 5 with the sign at zero fixed to +1).
"""

from __future__ import annotations

import numpy as np

from dcsh_pg.errors import UsageError

MIN_BITS, MAX_BITS = 16, 1024


def check_bits(bits: int) -> int:
    """Returns ``bits`` if it is a valid code length.

    Raises:
        UsageError: not a multiple of 8 from 16 to 1024.
    """
    if not (MIN_BITS <= bits <= MAX_BITS and bits % 8 == 0):
        raise UsageError(
            f"a code cannot have {bits} bits",
            hint=f"use a multiple of 8 from {MIN_BITS} to {MAX_BITS}, 64 for example",
        )
    return bits


def from_real(z: np.ndarray) -> np.ndarray:
    """Real hash values (N, K) -> packed codes uint8 (N, K/8)."""
    return np.packbits(np.asarray(z) >= 0, axis=-1)


def unpack(codes: np.ndarray) -> np.ndarray:
    """Packed codes uint8 (N, K/8) -> bits uint8 (N, K) of 0 and 1."""
    return np.unpackbits(np.asarray(codes, dtype=np.uint8), axis=-1)


def to_text(code: np.ndarray | bytes) -> str:
    """One packed code -> the text of PostgreSQL's ``bit(K)``, '0101...'."""
    return "".join("1" if b else "0" for b in unpack(np.frombuffer(bytes(code), np.uint8)))


def to_hex(code: np.ndarray | bytes) -> str:
    """One packed code -> hexadecimal, two characters a byte."""
    return bytes(code).hex()


def from_text(text: str) -> np.ndarray:
    """Parses a code: bits ('0101...', B'0101...') or hexadecimal (0x or x'..' allowed) -> uint8 (K/8,).

    A text of only 0s and 1s whose length is a valid K is read as bits.

    Raises:
        UsageError: neither bits nor hexadecimal, or an invalid length.
    """
    bare = text.strip().removeprefix("B'").removeprefix("x'").removesuffix("'")
    is_hex = text.strip().startswith(("0x", "x'"))
    bare = bare.removeprefix("0x")
    if not is_hex and set(bare) <= {"0", "1"} and len(bare) % 8 == 0 and len(bare) >= MIN_BITS:
        check_bits(len(bare))
        return np.packbits(np.frombuffer(bare.encode(), np.uint8) - ord("0"))
    try:
        code = np.frombuffer(bytes.fromhex(bare), np.uint8)
    except ValueError:
        raise UsageError(
            f"not a code: {text!r}", hint="give its bits (0101...) or its hexadecimal form"
        ) from None
    check_bits(8 * len(code))
    return code


def hamming(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """All Hamming distances between packed codes (N, B) and (M, B) -> int32 (N, M).

    Plain brute force, the reference in tests.

    Raises:
        UsageError: the codes have different lengths.
    """
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    if a.shape[1] != b.shape[1]:
        raise UsageError(f"codes of {8 * a.shape[1]} and {8 * b.shape[1]} bits cannot be compared")
    distances = np.zeros((len(a), len(b)), np.int32)
    for column in range(a.shape[1]):
        distances += _BITS_SET[a[:, column, None] ^ b[None, :, column]]
    return distances


_BITS_SET = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)

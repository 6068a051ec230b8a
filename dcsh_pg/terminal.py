"""Text that is safe to print on a terminal.

Names of files, models and items are untrusted.  Printed raw, a control character in one could clear
the screen, retitle the window or hide what follows.
"""

from __future__ import annotations

import re

_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_SURROGATES = "\ud800-\udfff"  # bytes of a file name that are not UTF-8
_UNSAFE = re.compile(f"[{_CONTROLS}{_SURROGATES}]")
_UNSAFE_IN_LINE = re.compile(f"[\t\n{_CONTROLS}{_SURROGATES}]")


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with control characters, marks of text direction and lone surrogates as escapes, as
    in ``\x1b``.

    Args:
        lines: keep line breaks and tabs; by default these are escaped too, so the text is one line.
    """
    unsafe = _UNSAFE if lines else _UNSAFE_IN_LINE
    return unsafe.sub(lambda found: ascii(found[0])[1:-1], text)

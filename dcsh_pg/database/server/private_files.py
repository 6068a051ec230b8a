"""Files of the embedded server that other users of the machine must not read or replace.

For root the server runs as another account, and root works in folders where that account may have
put symbolic links.  So nothing here follows a link in the last part of a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dcsh_pg.errors import ServerError

Account = tuple[int, int]
"""User and group id that own a file which root creates."""

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)


def write(path: Path, text: str, account: Account | None = None) -> None:
    """Replaces ``path`` atomically by a file that only its owner can read."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if account is not None:
                os.fchown(file.fileno(), *account)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def appended(path: Path, account: Account | None = None) -> Iterator[BinaryIO]:
    """Opens a file to append to it, created if missing; only its owner can read it from now on.

    Raises:
        OSError: it cannot be opened, or is a symbolic link.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NO_LINKS, 0o600)
    with open(descriptor, "ab") as file:
        if os.name == "posix":
            os.fchmod(descriptor, 0o600)
        if account is not None:
            os.fchown(descriptor, *account)
        yield file


def read_port(file: Path) -> int | None:
    """The port in a file, or None if there is no file.

    Raises:
        ServerError: the file holds anything else.
    """
    if not file.exists():
        return None
    text = file.read_text(errors="replace").strip()
    if not (re.fullmatch("[0-9]{1,5}", text) and 0 < int(text) < 65536):
        raise ServerError(
            f"{file} does not hold a port number",
            hint="delete it; the embedded server then starts on any free port",
        )
    return int(text)


def read_password(file: Path) -> str:
    """The password in a file.

    Raises:
        ServerError: the file is missing or empty.
    """
    text = file.read_text(errors="replace").strip() if file.exists() else ""
    if not text:
        raise ServerError(
            f"the password of the embedded server is lost: {file} is missing or empty",
            hint="restore it, or set a new one with 'dcsh-pg db password'",
        )
    return text

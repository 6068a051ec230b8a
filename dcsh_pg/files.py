"""Output files that are complete or absent, and digests of files."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dcsh_pg.errors import OutputError, storable

HASH_FUNCTION = "hash_function.pt"
"""The file of a training run that an export reads."""


def text_file(model: Path | str) -> Path:
    """Where the text tower of a model file lies: ``naip.text.onnx`` beside ``naip.onnx``."""
    path = Path(model)
    return path.with_name(f"{path.stem}.text{path.suffix}")


def check_writable(path: Path | str) -> None:
    """Checks that a file can be created at ``path``, without creating it.

    Raises:
        OutputError: ``path`` is a directory or a device, or its folder cannot be created or written to.
    """
    path = Path(path)
    try:
        if "\0" in str(path):
            raise ValueError("its name has a NUL character")
        if path.is_dir():
            raise _unwritable(path, "it is a directory")
        if path.exists() and not path.is_file():
            raise _unwritable(path, "it is not a regular file")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
    except (OSError, ValueError) as error:  # or a name that is too long
        raise _unwritable(path, getattr(error, "strerror", None) or str(error)) from None
    if not folder.is_dir():
        raise _unwritable(path, f"{folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(path, "permission denied")


def digest_of(stream: IO[bytes] | io.RawIOBase) -> hashlib._Hash:
    """The SHA-256 of the rest of a file, as ``hashlib.file_digest`` of Python 3.11."""
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block succeeds.

    The temporary name keeps the suffix, because libraries choose a format by it.  Missing folders
    are created.  If the block fails, nothing is left behind and an older file at ``path`` stays.

    Raises:
        OutputError: the file cannot be written there.
    """
    path = Path(path)
    check_writable(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    except UnicodeEncodeError as error:  # by a library that takes names in UTF-8 only
        if storable(str(path)) == str(path):
            raise
        raise _unwritable(path, "its name is not UTF-8") from error


def _unwritable(path: Path, reason: str) -> OutputError:
    return OutputError(
        f"cannot write {path}: {reason}",
        hint="choose a folder that you may write to and that has free space",
    )

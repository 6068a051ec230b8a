"""The files of a folder and its sub-folders."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.address import address_error
from dcsh_pg.imagery.pixels.side_files import is_regular, not_regular


@dataclass(frozen=True)
class Entry:
    """A file of a folder.

    Attributes:
        path: of the file.
        name: relative to the folder that was walked, with '/'.
        error: why it cannot be read, or None: a named pipe, a name that is not UTF-8, or a sub-folder
            that cannot be listed.
        is_folder: whether it is a sub-folder that cannot be listed.
    """

    path: Path
    name: str
    error: InputError | None = None
    is_folder: bool = False


def walk(folder: Path) -> Iterator[Entry]:
    """The files of a folder and its sub-folders, in no particular order, without hidden ones.

    Symbolic links are followed, and each folder is walked once: real folders first, then those that
    only links lead to, in the order of their names.  So loops of links end.
    """
    seen: set[tuple[int, int]] = set()
    folders, links = deque([folder]), deque[Path]()
    while folders or links:
        here = folders.popleft() if folders else links.popleft()
        try:
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(here) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            yield _unlisted(here, folder, error)
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if _is(entry.is_dir):
                (links if entry.is_symlink() else folders).append(path)
            else:
                refusal = unreadable(path, is_regular_file=_is(entry.is_file))
                yield Entry(path, path.relative_to(folder).as_posix(), refusal)


def unreadable(path: Path, *, is_regular_file: bool | None = None) -> InputError | None:
    """Why a path cannot be read or stored, or None as far as is known without opening it.

    Args:
        is_regular_file: whether it is a regular file, if that is known.
    """
    if error := address_error(str(path)):
        return error
    if is_regular_file or is_regular(path) or not os.path.exists(path):
        return None  # opening a broken link reports more
    return not_regular(path)


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a symbolic link that leads to itself
        return False


def _unlisted(path: Path, folder: Path, error: OSError) -> Entry:
    refusal = InputError(
        f"folder {path} cannot be listed: {error.strerror}",
        hint="change its permissions, or move it elsewhere",
    )
    return Entry(path, path.relative_to(folder).as_posix(), refusal, is_folder=True)

"""The temporary folder of a server, which the next server removes if this one was killed.

Every process that uses a folder holds a shared lock on a file in it.  A folder whose lock is free is
abandoned.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "dcsh-serve-"
LOCK = "lock"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder that is removed at the end, after those that killed servers of this user left."""
    _remove_abandoned(Path(tempfile.gettempdir()))
    while True:
        with tempfile.TemporaryDirectory(prefix=PREFIX) as made, in_use(Path(made)) as is_there:
            if is_there:
                yield Path(made)
                return


@contextmanager
def in_use(folder: Path) -> Iterator[bool]:
    """Keeps other servers from removing a folder; False if one has just removed it."""
    try:
        lock = (folder / LOCK).open("a")
    except FileNotFoundError:
        yield False
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield os.fstat(lock.fileno()).st_nlink > 0


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        except OSError:  # in use, not of a server, or removed by another
            continue

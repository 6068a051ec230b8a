"""Files of the embedded server, which other users of the machine must not read or swap.

Run as root, the server belongs to another account; root then works in folders where that account
may have put links.  So nothing here follows a link in the last part of a path.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import platformdirs

from dcsh_pg.errors import ServerError

Account = tuple[int, int]
"""User and group that get a file when root makes it."""

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)


def data_folder() -> Path:
    """``DCSH_PG_DATA``, else the user's data directory.

    For root it is /var/lib/dcsh-pg: the server cannot run as root, and another user cannot enter
    root's home.
    """
    if folder := os.environ.get("DCSH_PG_DATA"):
        return Path(folder).absolute()
    if is_root():
        return Path("/var/lib/dcsh-pg")
    return Path(platformdirs.user_data_dir("dcsh-pg", appauthor=False))


def is_root() -> bool:
    """Always False on Windows."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def make_folder(folder: Path, *, others_pass: bool) -> None:
    """Makes a folder and those above it that are missing, whatever the umask: for its owner alone,
    or with ``others_pass`` so that other users can pass through, but not list it."""
    if not folder.exists():
        make_folder(folder.parent, others_pass=others_pass)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711 if others_pass else 0o700)


def check(folder: Path) -> None:
    """Sees that no other user can put files into a folder, or another folder in its place.

    Raises:
        ServerError: somebody else can.
    """
    if os.name != "posix":
        return
    folder = folder.resolve()
    for one in (folder, *folder.parents):
        mode = one.stat().st_mode
        if mode & stat.S_IWOTH and not (mode & stat.S_ISVTX and one != folder):
            raise ServerError(
                f"every user of this machine can write to {one}, where the embedded server would be",
                hint=f"chmod o-w {one}, or name another folder with DCSH_PG_DATA",
            )
    owner = folder.stat().st_uid
    if not is_root() and owner not in (0, os.geteuid()):
        raise ServerError(
            f"{folder} belongs to another user (number {owner})",
            hint="name a folder of your own with DCSH_PG_DATA",
        )


def check_passable(path: Path, account: Account, name: str, option: str) -> None:
    """Sees that an account can enter the folders above ``path`` and ``path`` itself; as root.

    Raises:
        ServerError: it cannot; the hint names the folder.
    """
    folder = closed_folder(path, account)
    if folder is not None:
        raise ServerError(
            f"user {name}, as which root runs the embedded server, cannot enter {folder}",
            hint=f"chmod o+x {folder}, name another folder with {option}, or do not run as root",
        )


def closed_folder(path: Path, account: Account) -> Path | None:
    """The first of ``path`` and the folders above it that an account cannot enter; as root."""
    user, group = account
    for folder in (*reversed(path.resolve().parents), path.resolve()):
        if folder.stat().st_mode & stat.S_IXOTH:
            continue
        # Its owner, its group or a list of rights may let it pass.
        entered = subprocess.run(
            ["/bin/sh", "-c", 'cd "$0"', str(folder)],
            stderr=subprocess.DEVNULL, user=user, group=group, extra_groups=[],
        )  # fmt: skip
        if entered.returncode != 0:
            return folder
    return None


def write(path: Path, text: str, account: Account | None = None) -> None:
    """Puts a file that its owner alone can read in place of ``path``, wholly or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if account is not None:
                os.fchown(file.fileno(), *account)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def appended(path: Path, account: Account | None = None) -> Iterator[BinaryIO]:
    """Opens a file to add to it, made if missing; readable by its owner alone from now on.

    Raises:
        OSError: it cannot be opened, or is a link.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NO_LINKS, 0o600)
    with open(descriptor, "ab") as file:
        if os.name == "posix":
            os.fchmod(descriptor, 0o600)
        if account is not None:
            os.fchown(descriptor, *account)
        yield file


def read_port(file: Path) -> int | None:
    """The port in a file, None where there is no file.

    Raises:
        ServerError: something else is in it.
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
        ServerError: there is none.
    """
    text = file.read_text(errors="replace").strip() if file.exists() else ""
    if not text:
        raise ServerError(
            f"the password of the embedded server is lost: {file} is missing or empty",
            hint="put it back, or make a new one with 'dcsh-pg db password'",
        )
    return text

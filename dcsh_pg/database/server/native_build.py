"""Compiling the extension ``dcsh_hamming`` for a server.

The sources come with the package (``dcsh_pg/sql/hamming_index``).  A copy of them is built by make
with the server's own ``pg_config``, once for each state of sources and server, in the user's cache:

    native/pg18-<fingerprint>/          what was built, complete
    native/pg18-<fingerprint>.failed    the compiler's output, where it could not be built
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock

from dcsh_pg import sql
from dcsh_pg.database.server.programs import bundled
from dcsh_pg.errors import OutputError, ServerError
from dcsh_pg.progress import SILENT, Progress

EXTENSION = "dcsh_hamming"
SOURCES = sql.FOLDER / "hamming_index"
PREBUILT = Path(__file__).with_name("prebuilt")
"""Builds for the bundled servers, in wheels for one platform; made by ``packaging/prebuild.py``."""

BUILD_SECONDS = 600
SOURCE_SUFFIXES = {".c", ".h", ".control", ".sql"}


@dataclass(frozen=True)
class PgConfig:
    """What a server's ``pg_config`` tells.

    Attributes:
        path: the program.
        version: 'PostgreSQL 18.4' for example.
        libraries: PKGLIBDIR.
        share: SHAREDIR.
        headers: INCLUDEDIR-SERVER.
        compiler: the compiler that the server was built with.
        flags: its options but for warnings, which another compiler may not know.
    """

    path: Path
    version: str
    libraries: Path
    share: Path
    headers: Path
    compiler: str
    flags: str

    @classmethod
    def read(cls, path: Path | str) -> PgConfig:
        """Asks ``path``, a file or the name of a program on PATH.

        Raises:
            ServerError: it is not there or is no pg_config.
        """
        found = shutil.which(path)
        try:
            if found is None:
                raise FileNotFoundError
            told = subprocess.run([found], capture_output=True, text=True, check=True).stdout
            values = dict(line.split(" = ", 1) for line in told.splitlines() if " = " in line)
            return cls(
                path=Path(found).absolute(),
                version=values["VERSION"],
                libraries=Path(values["PKGLIBDIR"]),
                share=Path(values["SHAREDIR"]),
                headers=Path(values["INCLUDEDIR-SERVER"]),
                compiler=values["CC"],
                flags=" ".join(f for f in values["CFLAGS"].split() if not f.startswith("-W")),
            )
        except (OSError, KeyError, ValueError, subprocess.CalledProcessError):
            raise ServerError(
                f"no pg_config at {path}",
                hint="--pg-config is the program of the server to build for, "
                "/usr/lib/postgresql/17/bin/pg_config for example",
            ) from None

    @property
    def major(self) -> int:
        return int(re.search(r"\d+", self.version).group())


def version() -> str:
    """Version of the extension's sources in this dcsh-pg."""
    control = (SOURCES / f"{EXTENSION}.control").read_text(encoding="utf-8")
    return re.search(r"^default_version\s*=\s*'([^']+)'", control, re.M).group(1)


def build(config: PgConfig, *, retry: bool = True, progress: Progress = SILENT) -> Path:
    """Builds the extension for a server, once; returns the folder of what was built.

    Processes that want it at once wait for the one that builds; a killed one leaves nothing that
    counts.  Without ``retry`` what failed to build once is not tried again.

    Raises:
        ServerError: no C compiler, make or server headers, or the compiler failed.
        OutputError: the cache cannot be written.
    """
    folder = build_folder(config)
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if folder.exists():
                return folder
            check_tools(config)
            if not retry and (failure := last_failure(config)):
                raise ServerError(failure, hint="'dcsh-pg native install' tries again")
            progress.note(f"building the index {EXTENSION} {version()} for {config.version}")
            _make(config, folder)
    except OSError as error:
        raise OutputError(
            f"{folder.parent} cannot be written: {error.strerror or error}",
            hint="it is the user's cache; XDG_CACHE_HOME names another one",
        ) from None
    return folder


def build_folder(config: PgConfig) -> Path:
    """Where the build of these sources for that server is, or will be."""
    return _prebuilt(config) or (
        Path(platformdirs.user_cache_dir("dcsh-pg")) / "native" / _fingerprint(config)
    )


def _prebuilt(config: PgConfig) -> Path | None:
    """The build that came with the wheel, if it was made from these sources and the server is bundled."""
    folder = PREBUILT / f"pg{config.major}"
    digest = folder / "SOURCES"
    is_bundled = config.path.parent in bundled().values()
    if is_bundled and digest.exists() and digest.read_text().strip() == sources_digest():
        return folder
    return None


def sources_digest() -> str:
    """Hexadecimal SHA-256 of the names and contents of the sources."""
    digest = hashlib.sha256()
    for file in _sources():
        digest.update(f"{file.name}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _fingerprint(config: PgConfig) -> str:
    """Identity of the sources and of the server that they are built for."""
    identity = f"{config.version}\0{config.headers}\0{sources_digest()}"
    return f"pg{config.major}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _sources() -> list[Path]:
    return sorted(
        file
        for file in SOURCES.iterdir()
        if file.is_file() and (file.suffix in SOURCE_SUFFIXES or file.name == "Makefile")
    )


def last_failure(config: PgConfig) -> str | None:
    """Why these sources could not be built the last time."""
    log = build_folder(config).with_suffix(".failed")
    return f"the C compiler failed; its output is in {log}" if log.exists() else None


def find_compiler(config: PgConfig) -> str | None:
    """The first that is there: CC, the server's own, or one of the usual names."""
    wanted = (os.environ.get("CC"), config.compiler, "cc", "gcc", "clang")
    return next((c for c in wanted if c and shutil.which(c.split()[0])), None)


def check_tools(config: PgConfig) -> None:
    """Passes when there is all that a build needs.

    Raises:
        ServerError: no C compiler, make or server headers.
    """
    if find_compiler(config) is None:
        missing, hint = "no C compiler", "install one, package gcc or clang for example"
    elif shutil.which("make") is None:
        missing, hint = "no make", "install it, package make for example"
    elif not (config.headers / "postgres.h").exists():
        missing = f"no headers of {config.version} in {config.headers}"
        hint = f"install them, package postgresql-server-dev-{config.major} for example"
    else:
        return
    raise ServerError(f"the index {EXTENSION} cannot be built: {missing}", hint=hint)


def _make(config: PgConfig, folder: Path) -> None:
    for left in folder.parent.glob(f"{folder.name}.building-*"):
        shutil.rmtree(left, ignore_errors=True)
    # A name of its own: the make of a process that was killed may still be at work.
    work = folder.with_suffix(f".building-{os.getpid()}")
    failed = folder.with_suffix(".failed")
    work.mkdir()
    for file in _sources():
        shutil.copyfile(file, work / file.name)
    command = [
        "make",
        f"-j{os.cpu_count() or 1}",
        f"PG_CONFIG={config.path}",
        f"CC={find_compiler(config)}",
        f"CFLAGS={config.flags}",
        "with_llvm=no",  # bitcode is of no use for an access method, and wants clang
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    try:
        with open(work / "build.log", "wb") as log:
            subprocess.run(
                command,
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                timeout=BUILD_SECONDS,
                check=True,
            )
    except subprocess.SubprocessError:
        (work / "build.log").replace(failed)
        shutil.rmtree(work)
        raise ServerError(
            f"the index {EXTENSION} cannot be built for {config.version}",
            hint=f"the compiler's output is in {failed}; everything else works without the index",
        ) from None
    failed.unlink(missing_ok=True)
    work.rename(folder)

"""Building the extension ``dcsh_hamming`` for a server.

The sources come with the package (``dcsh_pg/sql/hamming_index``).  make builds a copy of them with
the server's ``pg_config`` in the user's cache, once for each state of the sources and the server:

    native/pg18-<fingerprint>/          a complete build
    native/pg18-<fingerprint>.failed    the compiler's output of a failed one
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
    """The output of a server's ``pg_config``.

    Attributes:
        path: path of the program.
        version: for example ``PostgreSQL 18.4``.
        libraries: PKGLIBDIR.
        share: SHAREDIR.
        headers: INCLUDEDIR-SERVER.
        compiler: the compiler that the server was built with.
        flags: its options except warnings, which another compiler may not support.
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
        """Runs ``path``, a file or the name of a program on PATH.

        Raises:
            ServerError: the program does not exist or is not a pg_config.
        """
        found = shutil.which(path)
        try:
            if found is None:
                raise FileNotFoundError
            output = subprocess.run([found], capture_output=True, text=True, check=True).stdout
            values = dict(line.split(" = ", 1) for line in output.splitlines() if " = " in line)
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
                hint="give the pg_config of the server with --pg-config, "
                "/usr/lib/postgresql/17/bin/pg_config for example",
            ) from None

    @property
    def major(self) -> int:
        return int(re.findall(r"\d+", self.version)[0])


def version() -> str:
    """Version of the extension's sources in this dcsh-pg."""
    control = (SOURCES / f"{EXTENSION}.control").read_text(encoding="utf-8")
    return str(re.findall(r"^default_version\s*=\s*'([^']+)'", control, re.M)[0])


def build(config: PgConfig, *, retry: bool = True, progress: Progress = SILENT) -> Path:
    """Builds the extension for a server, unless that was done before; returns the folder.

    Of concurrent processes one builds and the others wait; a killed one leaves no build behind.
    Without ``retry`` a failed build is not repeated.

    Raises:
        ServerError: the C compiler, make or the server headers are missing, or the compiler failed.
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
            hint="set XDG_CACHE_HOME to a folder that you can write to",
        ) from None
    return folder


def build_folder(config: PgConfig) -> Path:
    """Folder of the build of these sources for a server, whether it exists or not."""
    return _prebuilt(config) or (
        Path(platformdirs.user_cache_dir("dcsh-pg")) / "native" / _fingerprint(config)
    )


def _prebuilt(config: PgConfig) -> Path | None:
    """The build in the wheel, if it is of these sources and the server is bundled."""
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
    """Identity of the sources and the server."""
    identity = f"{config.version}\0{config.headers}\0{sources_digest()}"
    return f"pg{config.major}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _sources() -> list[Path]:
    return sorted(
        file
        for file in SOURCES.iterdir()
        if file.is_file() and (file.suffix in SOURCE_SUFFIXES or file.name == "Makefile")
    )


def last_failure(config: PgConfig) -> str | None:
    """Why the last build of these sources failed, or None."""
    log = build_folder(config).with_suffix(".failed")
    return f"the C compiler failed; its output is in {log}" if log.exists() else None


def find_compiler(config: PgConfig) -> str | None:
    """The first C compiler found: CC, the one that built the server, cc, gcc or clang."""
    wanted = (os.environ.get("CC"), config.compiler, "cc", "gcc", "clang")
    return next((c for c in wanted if c and shutil.which(c.split()[0])), None)


def check_tools(config: PgConfig) -> None:
    """Checks that all tools of a build are installed.

    Raises:
        ServerError: the C compiler, make or the server headers are missing.
    """
    if find_compiler(config) is None:
        missing, hint = "no C compiler", "install one, for example package gcc or clang"
    elif shutil.which("make") is None:
        missing, hint = "no make", "install it, for example package make"
    elif not (config.headers / "postgres.h").exists():
        missing = f"no headers of {config.version} in {config.headers}"
        hint = f"install them, for example package postgresql-server-dev-{config.major}"
    else:
        return
    raise ServerError(f"the index {EXTENSION} cannot be built: {missing}", hint=hint)


def _make(config: PgConfig, folder: Path) -> None:
    for left in folder.parent.glob(f"{folder.name}.building-*"):
        shutil.rmtree(left, ignore_errors=True)
    # Named by process: the make of a killed process may still be running.
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
        "with_llvm=no",  # an access method needs no bitcode, which requires clang
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

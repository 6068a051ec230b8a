"""The native index: building the extension ``dcsh_hamming`` and putting it where a server finds it.

The sources come with the package (``dcsh_pg/sql/hamming_index``).  A copy of them is built by make
with the server's own ``pg_config``, once for each state of sources and server; what was built is
kept in the user's cache, ``native/<fingerprint>/``, and installed from there:

    the embedded server,      below its data folder, ``native/pg18/``; two settings of the cluster
    PostgreSQL 18 or newer    tell it to look there, so nothing is written into another package
    any other server          into the directories that its ``pg_config`` names

Nothing else needs the extension: without it searches compare every code.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import psycopg
from filelock import FileLock

from dcsh_pg import sql
from dcsh_pg.errors import DcshError, OutputError, ServerError
from dcsh_pg.progress import SILENT, Progress

EXTENSION = "dcsh_hamming"
SOURCES = sql.FOLDER / "hamming_index"

RELOCATABLE = 18
"""The first PostgreSQL that finds extensions outside of its own directories."""

BUILD_SECONDS = 600
RELOAD_SECONDS = 10

_SOURCE_SUFFIXES = {".c", ".h", ".control", ".sql", ".mk"}
_LIBRARY_SUFFIXES = {".so", ".dylib", ".dll"}


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


@dataclass(frozen=True)
class Place:
    """Where the extension's files go.

    Attributes:
        libraries: of the shared library.
        scripts: of the control file and the SQL scripts; its last part is ``extension``.
    """

    libraries: Path
    scripts: Path

    @classmethod
    def of_server(cls, config: PgConfig) -> Place:
        """The server's own directories."""
        return cls(config.libraries, config.share / "extension")

    @classmethod
    def embedded(cls, data_folder: Path, config: PgConfig) -> Place | None:
        """The one below the data folder of the embedded server; None for a PostgreSQL that finds
        extensions in its own directories only."""
        if config.major < RELOCATABLE:
            return None
        folder = data_folder / "native" / f"pg{config.major}"
        return cls(folder / "lib", folder / "share" / "extension")

    def holds(self, built: Path) -> bool:
        """Whether the very files of ``built`` are here."""
        return all(
            target.exists() and filecmp.cmp(file, target, shallow=False)
            for file, target in self.targets(built)
        )

    def install(self, built: Path) -> None:
        """Copies the files of ``built`` here, each whole or not at all, the control file last.

        Raises:
            OSError: they cannot be written.
        """
        for folder in (self.libraries, self.scripts):
            _make_folder(folder)
        for file, target in self.targets(built):
            coming = target.with_name(f".{target.name}.{os.getpid()}")
            try:
                shutil.copyfile(file, coming)
                coming.chmod(0o755 if target.parent == self.libraries else 0o644)
                coming.replace(target)
            finally:
                coming.unlink(missing_ok=True)

    def targets(self, built: Path) -> list[tuple[Path, Path]]:
        """Each file of ``built`` that is needed, and where it goes; the control file last."""
        libraries = [
            file for file in built.glob(f"{EXTENSION}.*") if file.suffix in _LIBRARY_SUFFIXES
        ]
        scripts = [*sorted(built.glob(f"{EXTENSION}--*.sql")), built / f"{EXTENSION}.control"]
        return [
            *((file, self.libraries / file.name) for file in libraries),
            *((file, self.scripts / file.name) for file in scripts),
        ]


@dataclass(frozen=True)
class Status:
    """How far the extension is for one server.

    Attributes:
        server: its version.
        pg_config: the program that was asked.
        sources: version of the extension in this dcsh-pg.
        compiler: the C compiler that a build uses, or None.
        installed: whether these sources are installed, built for this very server.
        place: where they are or would be, or None where there is no place for them.
        obstacle: what stands in the way of installing, or None.
    """

    server: str
    pg_config: str
    sources: str
    compiler: str | None
    installed: bool
    place: str | None
    obstacle: str | None


def status(config: PgConfig, place: Place | None) -> Status:
    """Looks, and changes nothing."""
    built = _folder(config)
    installed = place is not None and built.exists() and place.holds(built)
    obstacle = None
    if place is None:
        obstacle = f"PostgreSQL {RELOCATABLE} is the first that finds it outside of its own folders"
    elif not installed:
        try:
            _check_tools(config)
            obstacle = _failure(config)
        except ServerError as error:
            obstacle = error.message
    return Status(
        server=config.version,
        pg_config=str(config.path),
        sources=version(),
        compiler=_compiler(config),
        installed=installed,
        place=str(place.libraries.parent if _is_own(place) else place.libraries) if place else None,
        obstacle=obstacle,
    )


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
    folder = _folder(config)
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if folder.exists():
                return folder
            _check_tools(config)
            if not retry and (failure := _failure(config)):
                raise ServerError(failure, hint="'dcsh-pg native install' tries again")
            progress.note(f"building the index {EXTENSION} {version()} for {config.version}")
            _make(config, folder)
    except OSError as error:
        raise OutputError(
            f"{folder.parent} cannot be written: {error.strerror or error}",
            hint="it is the user's cache; XDG_CACHE_HOME names another one",
        ) from None
    return folder


def install(config: PgConfig, *, progress: Progress = SILENT) -> Place:
    """Builds the extension and installs it into the server's own directories.

    Raises:
        ServerError: as :func:`build`.
        OutputError: the directories cannot be written; the hint names all files for a DBA.
    """
    place = Place.of_server(config)
    built = build(config, progress=progress)
    try:
        if not place.holds(built):
            place.install(built)
    except OSError as error:
        copies = [f"{file} {target.parent}/" for file, target in place.targets(built)]
        raise OutputError(
            f"{error.filename or place.libraries} cannot be written: {error.strerror or error}",
            hint=f"run 'sudo {shutil.which('dcsh-pg') or 'dcsh-pg'} native install --pg-config "
            f"{config.path}', or have a DBA do: " + "; ".join(f"sudo cp {copy}" for copy in copies),
        ) from None
    return place


def install_embedded(
    config: PgConfig,
    data_folder: Path,
    conninfo: str,
    *,
    retry: bool = True,
    progress: Progress = SILENT,
) -> Place:
    """Builds the extension for the embedded server, installs it below ``data_folder`` and tells
    the running cluster, which ``conninfo`` opens as superuser, to look there.

    Raises:
        ServerError: as :func:`build`; older than PostgreSQL 18; it does not take the settings.
        OutputError: the data folder or the cache cannot be written.
    """
    place = Place.embedded(data_folder, config)
    if place is None:
        raise ServerError(
            f"{config.version} finds extensions in its own directories only",
            hint=f"'dcsh-pg native install --pg-config {config.path}' writes there",
        )
    built = build(config, retry=retry, progress=progress)
    try:
        if not place.holds(built):
            place.install(built)
    except OSError as error:
        raise OutputError(
            f"{place.libraries.parent} cannot be written: {error.strerror or error}",
            hint="name a folder that you may write with DCSH_PG_DATA",
        ) from None
    _point_to(place, conninfo)
    return place


def try_embedded(programs: Path, data_folder: Path, conninfo: str) -> bool:
    """:func:`install_embedded`, where that can be done without asking anybody; never raises."""
    try:
        install_embedded(PgConfig.read(programs / "pg_config"), data_folder, conninfo, retry=False)
    except (DcshError, psycopg.Error):
        return False
    return True


def _folder(config: PgConfig) -> Path:
    return Path(platformdirs.user_cache_dir("dcsh-pg")) / "native" / _fingerprint(config)


def _fingerprint(config: PgConfig) -> str:
    """Identity of the sources and of the server that they are built for."""
    digest = hashlib.sha256(f"{config.version}\0{config.headers}\0".encode())
    for file in _sources():
        digest.update(f"{file.relative_to(SOURCES).as_posix()}\0".encode())
        digest.update(file.read_bytes())
    return f"pg{config.major}-{digest.hexdigest()[:16]}"


def _sources() -> list[Path]:
    return sorted(
        file
        for file in SOURCES.rglob("*")
        if file.is_file() and (file.suffix in _SOURCE_SUFFIXES or file.name == "Makefile")
    )


def _failure(config: PgConfig) -> str | None:
    """Why these sources could not be built the last time."""
    log = _folder(config).with_suffix(".failed")
    return f"the C compiler failed; its output is in {log}" if log.exists() else None


def _compiler(config: PgConfig) -> str | None:
    """The first that is there: CC, the server's own, or one of the usual names."""
    wanted = (os.environ.get("CC"), config.compiler, "cc", "gcc", "clang")
    return next((c for c in wanted if c and shutil.which(c.split()[0])), None)


def _check_tools(config: PgConfig) -> None:
    if _compiler(config) is None:
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
    work, failed = folder.with_suffix(".building"), folder.with_suffix(".failed")
    shutil.rmtree(work, ignore_errors=True)
    for file in _sources():
        copy = work / file.relative_to(SOURCES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    command = [
        "make",
        f"-j{os.cpu_count() or 1}",
        f"PG_CONFIG={config.path}",
        f"CC={_compiler(config)}",
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


def _make_folder(folder: Path) -> None:
    """Makes it, whatever the umask, so that the server may look into it: run as root, the embedded
    one belongs to another user."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)


def _is_own(place: Place) -> bool:
    return place.libraries.parent == place.scripts.parent.parent


def _point_to(place: Place, conninfo: str) -> None:
    """Adds ``place`` to the two search paths of a cluster and waits until it uses them."""
    wanted = {
        "dynamic_library_path": str(place.libraries),
        "extension_control_path": str(place.scripts.parent),
    }
    if any(os.pathsep in path for path in wanted.values()):
        raise ServerError(f"PostgreSQL cannot be pointed to {place.libraries.parent}")

    def missing() -> dict[str, str]:
        with psycopg.connect(conninfo) as conn:
            values = {name: conn.execute(f"SHOW {name}").fetchone()[0] for name in wanted}
        return {n: v for n, v in values.items() if wanted[n] not in v.split(os.pathsep)}

    if not (lacking := missing()):
        return
    with psycopg.connect(conninfo, autocommit=True) as conn:
        for name, value in lacking.items():
            path = psycopg.sql.Literal(f"{value}{os.pathsep}{wanted[name]}")
            conn.execute(psycopg.sql.SQL(f"ALTER SYSTEM SET {name} = {{}}").format(path))
        conn.execute("SELECT pg_reload_conf()")
    _wait_until(lambda: not missing(), RELOAD_SECONDS)


def _wait_until(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise ServerError("the server does not take its new settings")
        time.sleep(0.05)

"""The native index: putting the extension ``dcsh_hamming`` where a server finds it.

    the embedded server,      below its data folder, ``native/pg18/``; two settings of the cluster
    PostgreSQL 18 or newer    tell it to look there, so nothing is written into another package
    any other server          into the directories that its ``pg_config`` names

What is installed comes from :mod:`dcsh_pg.database.server.native_build`.  Nothing else needs the extension:
without it searches compare every code.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from dcsh_pg.database.server.native_build import (
    EXTENSION,
    PgConfig,
    build,
    build_folder,
    check_tools,
    find_compiler,
    last_failure,
    version,
)
from dcsh_pg.errors import DcshError, OutputError, ServerError
from dcsh_pg.progress import SILENT, Progress

RELOCATABLE = 18
"""The first PostgreSQL that finds extensions outside of its own directories."""

RELOAD_SECONDS = 10

_LIBRARY_SUFFIXES = {".so", ".dylib", ".dll"}


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
    def embedded(cls, cluster: Path, config: PgConfig) -> Place | None:
        """The one of an embedded server, beside its cluster; None for a PostgreSQL that finds
        extensions in its own directories only."""
        if config.major < RELOCATABLE:
            return None
        folder = cluster.parent / "native" / cluster.name
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
    built = build_folder(config)
    installed = place is not None and built.exists() and place.holds(built)
    obstacle = None
    if place is None:
        obstacle = f"PostgreSQL {RELOCATABLE} is the first that finds it outside of its own folders"
    elif not installed:
        try:
            check_tools(config)
            obstacle = last_failure(config)
        except ServerError as error:
            obstacle = error.message
    return Status(
        server=config.version,
        pg_config=str(config.path),
        sources=version(),
        compiler=find_compiler(config),
        installed=installed,
        place=str(place.libraries.parent if _is_own(place) else place.libraries) if place else None,
        obstacle=obstacle,
    )


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
    cluster: Path,
    conninfo: str,
    *,
    retry: bool = True,
    progress: Progress = SILENT,
) -> Place:
    """Builds the extension for the embedded server, installs it beside ``cluster`` and tells
    that, which runs and which ``conninfo`` opens as superuser, to look there.

    Raises:
        ServerError: as :func:`build`; older than PostgreSQL 18; it does not take the settings.
        OutputError: the data folder or the cache cannot be written.
    """
    place = Place.embedded(cluster, config)
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


def try_embedded(programs: Path, cluster: Path, conninfo: str) -> bool:
    """:func:`install_embedded`, where that can be done without asking anybody; never raises."""
    try:
        install_embedded(PgConfig.read(programs / "pg_config"), cluster, conninfo, retry=False)
    except (DcshError, psycopg.Error):
        return False
    return True


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

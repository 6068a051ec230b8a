"""Installation of the native index, the extension ``dcsh_hamming``.

    embedded server,          in its data folder, ``native/pg18/``; two settings of the cluster add
    PostgreSQL 18 or newer    it to the search paths, so no other package is changed
    any other server          in the directories that its ``pg_config`` reports

:mod:`dcsh_pg.database.server.native_build` builds the files.  The extension is optional: without
it a search compares every code.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from dcsh_pg.database.server.data_folder import make_folder
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
from dcsh_pg.database.server.rows import scalar
from dcsh_pg.errors import DcshError, OutputError, ServerError
from dcsh_pg.progress import SILENT, Progress

RELOCATABLE = 18
"""The first PostgreSQL that finds extensions outside its own directories."""

RELOAD_SECONDS = 10

_LIBRARY_SUFFIXES = {".so", ".dylib", ".dll"}


@dataclass(frozen=True)
class InstallFolders:
    """The folders of the extension's files.

    Attributes:
        libraries: for the shared library.
        scripts: for the control file and the SQL scripts; its name is ``extension``.
    """

    libraries: Path
    scripts: Path

    @classmethod
    def of_server(cls, config: PgConfig) -> InstallFolders:
        """The server's own directories."""
        return cls(config.libraries, config.share / "extension")

    @classmethod
    def embedded(cls, cluster: Path, config: PgConfig) -> InstallFolders | None:
        """Folders beside an embedded server's cluster; None for a PostgreSQL that finds extensions
        in its own directories only."""
        if config.major < RELOCATABLE:
            return None
        folder = cluster.parent / "native" / cluster.name
        return cls(folder / "lib", folder / "share" / "extension")

    def holds(self, built: Path) -> bool:
        """Whether the folders contain exactly the files of ``built``."""
        return all(
            target.exists() and filecmp.cmp(file, target, shallow=False)
            for file, target in self.targets(built)
        )

    def install(self, built: Path) -> None:
        """Copies the files of ``built``, each atomically, the control file last.

        Raises:
            OSError: a file cannot be written.
        """
        for folder in (self.libraries, self.scripts):
            # If root runs dcsh-pg, another user runs the embedded server.
            make_folder(folder, 0o755)
        for file, target in self.targets(built):
            partial = target.with_name(f".{target.name}.{os.getpid()}")
            try:
                shutil.copyfile(file, partial)
                partial.chmod(0o755 if target.parent == self.libraries else 0o644)
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)

    def targets(self, built: Path) -> list[tuple[Path, Path]]:
        """The files of ``built`` to install and their targets; the control file last."""
        libraries = [
            file for file in built.glob(f"{EXTENSION}.*") if file.suffix in _LIBRARY_SUFFIXES
        ]
        scripts = [*sorted(built.glob(f"{EXTENSION}--*.sql")), built / f"{EXTENSION}.control"]
        return [
            *((file, self.libraries / file.name) for file in libraries),
            *((file, self.scripts / file.name) for file in scripts),
        ]


@dataclass(frozen=True)
class InstallStatus:
    """Whether the extension is installed for a server.

    Attributes:
        server: version of the server.
        pg_config: path of its ``pg_config``.
        sources: version of the extension in this dcsh-pg.
        compiler: the C compiler that a build uses, or None.
        installed: whether a build of these sources for this server is installed.
        place: folder of the installation, or None if the server supports none.
        obstacle: what prevents the installation, or None.
    """

    server: str
    pg_config: str
    sources: str
    compiler: str | None
    installed: bool
    place: str | None
    obstacle: str | None


def status(config: PgConfig, folders: InstallFolders | None) -> InstallStatus:
    """Reports the status of the extension; changes nothing."""
    built = build_folder(config)
    installed = folders is not None and built.exists() and folders.holds(built)
    obstacle = None
    if folders is None:
        obstacle = f"requires PostgreSQL {RELOCATABLE}, which finds extensions in other folders"
    elif not installed:
        try:
            check_tools(config)
            obstacle = last_failure(config)
        except ServerError as error:
            obstacle = error.message
    return InstallStatus(
        server=config.version,
        pg_config=str(config.path),
        sources=version(),
        compiler=find_compiler(config),
        installed=installed,
        place=str(_common_folder(folders)) if folders else None,
        obstacle=obstacle,
    )


def install(config: PgConfig, *, progress: Progress = SILENT) -> InstallFolders:
    """Builds the extension and installs it into the server's own directories.

    Raises:
        ServerError: as :func:`build`.
        OutputError: the directories cannot be written; the hint lists the files for a DBA.
    """
    folders = InstallFolders.of_server(config)
    built = build(config, progress=progress)
    try:
        if not folders.holds(built):
            folders.install(built)
    except OSError as error:
        copies = [f"{file} {target.parent}/" for file, target in folders.targets(built)]
        raise OutputError(
            f"{error.filename or folders.libraries} cannot be written: {error.strerror or error}",
            hint=f"run 'sudo {shutil.which('dcsh-pg') or 'dcsh-pg'} native install --pg-config "
            f"{config.path}', or have a DBA run: "
            + "; ".join(f"sudo cp {copy}" for copy in copies),
        ) from None
    return folders


def install_embedded(
    config: PgConfig,
    cluster: Path,
    conninfo: str,
    *,
    retry: bool = True,
    progress: Progress = SILENT,
) -> InstallFolders:
    """Builds the extension for the embedded server, installs it beside ``cluster`` and adds it to
    the search paths of the running server, which ``conninfo`` opens as superuser.

    Raises:
        ServerError: as :func:`build`; the server is older than PostgreSQL 18 or did not apply the
            settings.
        OutputError: the data folder or the cache cannot be written.
    """
    folders = InstallFolders.embedded(cluster, config)
    if folders is None:
        raise ServerError(
            f"{config.version} finds extensions in its own directories only",
            hint=f"'dcsh-pg native install --pg-config {config.path}' writes there",
        )
    built = build(config, retry=retry, progress=progress)
    try:
        if not folders.holds(built):
            folders.install(built)
    except OSError as error:
        raise OutputError(
            f"{folders.libraries.parent} cannot be written: {error.strerror or error}",
            hint="set DCSH_PG_DATA to a folder that you can write to",
        ) from None
    _point_to(folders, conninfo)
    return folders


def try_embedded(programs: Path, cluster: Path, conninfo: str) -> bool:
    """Calls :func:`install_embedded`; returns whether it succeeded, and never raises."""
    try:
        install_embedded(PgConfig.read(programs / "pg_config"), cluster, conninfo, retry=False)
    except (DcshError, psycopg.Error):
        return False
    return True


def _common_folder(folders: InstallFolders) -> Path:
    """The folder that contains nothing but the extension, or else that of the library."""
    parent = folders.libraries.parent
    return parent if parent == folders.scripts.parent.parent else folders.libraries


def _point_to(folders: InstallFolders, conninfo: str) -> None:
    """Adds ``folders`` to the two search paths of a cluster and waits until the server uses them."""
    wanted = {
        "dynamic_library_path": str(folders.libraries),
        "extension_control_path": str(folders.scripts.parent),
    }
    if any(os.pathsep in path for path in wanted.values()):
        raise ServerError(
            f"PostgreSQL cannot search {folders.libraries.parent}: the path contains '{os.pathsep}'",
            hint="set DCSH_PG_DATA to another folder",
        )

    def missing() -> dict[str, str]:
        with psycopg.connect(conninfo) as conn:
            values = {
                name: scalar(conn, str, "SELECT current_setting(%s)", [name]) for name in wanted
            }
        return {n: v for n, v in values.items() if wanted[n] not in v.split(os.pathsep)}

    if not (lacking := missing()):
        return
    with psycopg.connect(conninfo, autocommit=True) as conn:
        for name, value in lacking.items():
            path = psycopg.sql.Literal(f"{value}{os.pathsep}{wanted[name]}")
            conn.execute(psycopg.sql.SQL(f"ALTER SYSTEM SET {name} = {{}}").format(path))
        conn.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + RELOAD_SECONDS
    while missing():
        if time.monotonic() > deadline:
            raise ServerError("the server did not apply the new settings")
        time.sleep(0.05)

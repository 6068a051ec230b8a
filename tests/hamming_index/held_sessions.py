"""Sessions held at a point inside the index, so that two of them meet exactly there.

The library must be built with injection points (``sql/hamming_index/injection_point.c``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg

Job = Callable[[psycopg.Connection], Any]

POINTS = {
    "insert": [
        "insert-page", "insert-page-locked", "insert-covered", "insert-directory-unlocked",
        "insert-new-page", "insert-widened", "insert-changed", "insert-logged", "insert-page-full",
        "insert-extended", "insert-done",
    ],
    "vacuum": [
        "vacuum-counted", "vacuum-page", "vacuum-judged", "vacuum-rewritten", "vacuum-logged",
        "vacuum-page-done", "vacuum-done",
    ],
    "scan": [
        "search-counted", "search-directory", "search-bounded", "search-page",
        "search-page-locked", "search-page-compared", "search-pass-done",
    ],
    "build": [
        "build-metapage", "build-collected", "build-cells", "build-assign", "build-ordered",
        "build-page", "build-written", "build-logged",
    ],
}  # fmt: skip
"""Operations, and the points in their own code."""

SECONDS = 30
POLL_SECONDS = 0.002
QUIET_POLLS = 3
"""A session that waits for a lock as often as this in a row is taken to wait for another session."""


class Session:
    """A connection that runs one job at a time on a thread of its own.

    Attributes:
        pid: process id of its backend.
    """

    def __init__(self, dsn: str, hold: Path, application: str = "held"):
        """``hold`` is the file that keeps the session at its point; the server can see it."""
        self.conn = psycopg.connect(dsn, autocommit=True, application_name=application)
        self.pid = self.conn.info.backend_pid
        self.hold = hold
        self._threads = ThreadPoolExecutor(1)
        self._running: Future | None = None

    def start(self, job: Job, *, stop_at: str = "", after: int = 0) -> None:
        """Runs ``job``; it stops when it has passed ``stop_at`` as often as ``after``."""
        self.hold.touch()
        for name, value in (("stop_while", self.hold), ("stop_after", after), ("stop_at", stop_at)):
            self.conn.execute(
                "SELECT set_config(%s, %s, false)", [f"dcsh_hamming.{name}", str(value)]
            )
        self._running = self._threads.submit(job, self.conn)

    def release(self) -> None:
        """Lets it go on."""
        self.hold.unlink(missing_ok=True)

    def is_done(self) -> bool:
        return self._running.done()

    def result(self) -> Any:
        """What the job returned; raises what it raised."""
        return self._running.result(timeout=SECONDS)

    def close(self) -> None:
        self.release()
        self._threads.shutdown()
        self.conn.close()


class Watcher:
    """Sees from outside where sessions are."""

    def __init__(self, dsn: str):
        self.conn = psycopg.connect(dsn, autocommit=True)

    def settle(self, session: Session) -> str:
        """Waits until ``session`` is 'done', 'held' at its point or 'blocked' by another one."""
        deadline = time.monotonic() + SECONDS
        quiet = 0
        while not session.is_done():
            waits = self._waits(session)
            if "Extension" in waits:
                return "held"
            quiet = quiet + 1 if waits & {"Lock", "LWLock", "BufferPin", "Buffer"} else 0
            if quiet == QUIET_POLLS:
                return "blocked"
            assert time.monotonic() < deadline, f"the session neither ends nor stops: {waits}"
            time.sleep(POLL_SECONDS)
        return "done"

    def _waits(self, session: Session) -> set[str]:
        """Kinds of events that it or one of its parallel workers waits for."""
        return {
            kind
            for (kind,) in self.conn.execute(
                "SELECT wait_event_type FROM pg_stat_activity"
                " WHERE %(pid)s IN (pid, leader_pid) AND state = 'active'",
                {"pid": session.pid},
            )
            if kind
        }

    def close(self) -> None:
        self.conn.close()


def meet(
    first: Session,
    second: Session,
    watcher: Watcher,
    jobs: tuple[Job, Job],
    *,
    stop_at: str,
    after: int = 0,
) -> tuple[str, Any, Any]:
    """Holds ``first`` at a point until ``second`` is done or waits for it.

    Returns whether the first was 'held' or 'done', and what both returned.
    """
    first.start(jobs[0], stop_at=stop_at, after=after)
    where = watcher.settle(first)
    second.start(jobs[1])
    watcher.settle(second)
    first.release()
    return where, first.result(), second.result()

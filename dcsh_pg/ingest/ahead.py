"""An iterator that another thread runs ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.2


def ahead(items: Iterator[T], depth: int = 2) -> Iterator[T]:
    """The same items; a thread makes at most ``depth`` of them before they are asked for.

    An exception of ``items`` is raised here, after the items before it.
    """
    queue: Queue[tuple[T | None, BaseException | None]] = Queue(depth)
    stopped = threading.Event()

    def put(item: T | None, error: BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return queue.put((item, error), timeout=_POLL_SECONDS)
            except Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put(item, None)
                if stopped.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error = queue.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # without an error it is an item
    finally:
        stopped.set()
        thread.join()

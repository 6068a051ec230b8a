"""Bounds on the memory of reading threads."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

DECODING_BYTES = 256 << 20
"""Most bytes of pictures decoded at the same time; a larger picture is decoded alone."""

DECODED_BYTES = 128 << 20
"""Most bytes of decoded pictures kept for their other chips; the last one always is."""

GDAL_CACHE_BYTES = 256 << 20
"""Most bytes of GDAL's block cache, unless GDAL_CACHEMAX is set."""

HEAVY_BLOCK = 32 << 20
"""Bytes of a strip or tile from which only one thread reads at a time."""

Kept = TypeVar("Kept")


class _Closable(Protocol):
    def close(self) -> object: ...


Closed = TypeVar("Closed", bound=_Closable)


class Gate:
    """Bounds the bytes that threads hold together; a thread that needs more waits to be alone."""

    def __init__(self, limit: int):
        self._limit, self._taken = limit, 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Waits until ``size`` more bytes are within the limit, or no other thread holds any."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + size <= self._limit)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()


class Recent(Generic[Kept]):
    """A least-recently-used cache bounded in bytes."""

    def __init__(self, limit: int):
        self._limit, self._lock = limit, threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Kept, int]] = OrderedDict()

    def get(self, key: Hashable) -> Kept | None:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: Hashable, value: Kept, size: int) -> None:
        with self._lock:
            self._kept[key] = value, size
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(s for _, s in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        with self._lock:
            self._kept.pop(key, None)


class OneAtATime(Generic[Closed]):
    """Keeps one large resource at a time, used by one thread at a time.

    The resource of the last use is kept for the next; another replaces it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner: object = None
        self._thing: Closed | None = None

    @contextmanager
    def use(self, owner: object, make: Callable[[], Closed]) -> Iterator[Closed]:
        """The resource of ``owner``, made unless it is that of the last use."""
        with self._lock:
            if self._thing is None or self._owner is not owner:
                self.close(self._owner)
                self._thing, self._owner = make(), owner
            yield self._thing

    def close(self, owner: object) -> None:
        """Closes the resource if it is ``owner``'s, which must not be using it."""
        if owner is None or self._owner is not owner:
            return  # without waiting for another's use
        with self._lock:
            if self._owner is owner and self._thing is not None:
                thing, self._thing, self._owner = self._thing, None, None
                thing.close()


def gdal_cache_bytes() -> int:
    """For GDAL_CACHEMAX: GDAL's own default, 5 % of the memory, but at most ``GDAL_CACHE_BYTES``."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return GDAL_CACHE_BYTES
    return min(memory // 20, GDAL_CACHE_BYTES)

"""Bounds on the memory that threads take while they read."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TypeVar

DECODING_BYTES = 256 << 20
"""That pictures may take together while they are decoded; a larger one is decoded alone."""

DECODED_BYTES = 128 << 20
"""Of decoded pictures that are kept for their other chips; the last one always is."""

GDAL_CACHE_BYTES = 256 << 20
"""Most that GDAL keeps of decoded blocks, where GDAL_CACHEMAX does not say otherwise."""

HEAVY_BLOCK = 32 << 20
"""Bytes of a strip or tile from which on one thread reads at a time."""

Kept = TypeVar("Kept")


class Gate:
    """Lets threads take a bounded number of bytes together; who needs more goes alone."""

    def __init__(self, limit: int):
        self._limit, self._taken = limit, 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Waits until ``size`` more bytes are within the limit, or nobody else has any."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + size <= self._limit)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()


class Recent:
    """The last used of some things of known size, within a bounded number of bytes."""

    def __init__(self, limit: int):
        self._limit, self._lock = limit, threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    def get(self, key: Hashable) -> object | None:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: Hashable, value: object, size: int) -> None:
        with self._lock:
            self._kept[key] = value, size
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(s for _, s in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        with self._lock:
            self._kept.pop(key, None)


class OneAtATime:
    """A thing that is so large that there is one at a time, used by one thread at a time.

    The thing of the last use is kept for the next one; another takes its place.
    """

    def __init__(self):
        self._lock = threading.RLock()
        self._owner: object = None
        self._thing = None

    @contextmanager
    def use(self, owner: object, make: Callable[[], Kept]) -> Iterator[Kept]:
        """The thing of ``owner``, made when it is not that of the last use."""
        with self._lock:
            if self._owner is not owner:
                self.close(self._owner)
                self._thing, self._owner = make(), owner
            yield self._thing

    def close(self, owner: object) -> None:
        """Closes the thing if it is of ``owner``, which does not use it now."""
        if owner is None or self._owner is not owner:
            return  # no waiting for another's use
        with self._lock:
            if self._owner is owner:
                thing, self._thing, self._owner = self._thing, None, None
                thing.close()


def gdal_cache_bytes() -> int:
    """For GDAL_CACHEMAX: GDAL's own default, 5 % of the memory, but at most ``GDAL_CACHE_BYTES``."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return GDAL_CACHE_BYTES
    return min(memory // 20, GDAL_CACHE_BYTES)

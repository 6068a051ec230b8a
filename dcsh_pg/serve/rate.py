"""How many requests a client may make."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

MOST_CLIENTS = 10_000
"""Clients that are remembered; the one not seen for longest is forgotten."""


class Rate:
    """A token bucket for each client.

    Args:
        a_second: what a bucket gains in a second.
        at_once: what it holds at most.
    """

    def __init__(self, a_second: float, at_once: float):
        self._a_second, self._at_once = a_second, at_once
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, cost: float = 1, now: float | None = None) -> float:
        """Takes ``cost`` from a client's bucket; returns the seconds until it holds as much, 0 if it did."""
        now = time.monotonic() if now is None else now
        with self._lock:
            left, then = self._buckets.pop(client, (self._at_once, now))
            left = min(left + (now - then) * self._a_second, self._at_once)
            lacking = cost - left
            self._buckets[client] = (left if lacking > 0 else left - cost, now)
            if len(self._buckets) > MOST_CLIENTS:
                self._buckets.popitem(last=False)
        return max(lacking / self._a_second, 0)

"""A scheduler with real worker processes, each watched by a nanny that starts it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import LocalCluster

_SETTINGS = {
    "distributed.scheduler.allowed-failures": 1,
    # A LocalCluster ends a nanny that is just starting its worker again this time after a death.
    "distributed.deploy.lost-worker-timeout": "1 hour",
}


@contextmanager
def cluster_of(workers: int, *, threads: int = 1) -> Iterator[LocalCluster]:
    """A cluster on this machine; a task is given up when a second worker died under it."""
    with (
        dask.config.set(_SETTINGS),
        LocalCluster(
            n_workers=workers, threads_per_worker=threads, processes=True, dashboard_address=":0"
        ) as cluster,
    ):
        yield cluster

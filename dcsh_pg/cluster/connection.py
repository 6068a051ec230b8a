"""A checked Dask client: reachable, of our versions, quiet."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dcsh_pg import __version__
from dcsh_pg.errors import ServerError, UsageError
from dcsh_pg.extras import requires

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 10

_SETTINGS = {
    # The calling code, which Dask can show on its dashboard, may contain a password.
    "distributed.diagnostics.computations.nframes": 0,
    "distributed.admin.large-graph-warning-threshold": "4 GiB",  # a model is one task
}
_MUST_AGREE = ("python", "dask", "distributed")
_LOGGERS = ("distributed", "distributed.client", "distributed.core", "tornado.application")


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler at ``address`` for the block.

    Leaving the block cancels the client's tasks on the cluster.  TLS and other settings come from
    Dask's own configuration.

    Raises:
        UsageError: ``address`` is invalid.
        ServerError: no scheduler answers there, it was lost, or the cluster has other versions.
        DcshError: Dask is not installed.
    """
    with requires("dask", "ingest on a cluster"):
        import dask
        from distributed import Client
    with _quiet(), dask.config.set(_SETTINGS):
        try:
            with ThreadPoolExecutor(1) as thread:  # a notebook's thread has an event loop
                thread.submit(asyncio.run, _greet(address)).result()
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="dcsh-pg")
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"--scheduler {address}: {_first_line(error)}",
                hint="write tcp://HOST:8786; tls:// needs certificates in Dask's configuration",
            ) from None
        except (OSError, asyncio.TimeoutError):
            raise ServerError(
                f"no Dask scheduler answers at {address}",
                hint="start one with 'dask scheduler'; its default port is 8786, and 8787 is its "
                "dashboard",
            ) from None
        try:
            _check_versions(client, address)
            yield client
        except OSError as error:
            if client.status == "running" and not _is_lost(error):
                raise
            raise lost(address) from None
        finally:
            client.close(timeout=CONNECT_SECONDS)


async def _greet(address: str) -> None:
    """Exchanges Dask's greeting, for which a ``Client`` would wait for ever."""
    from distributed import Security
    from distributed.comm import connect

    comm = await asyncio.wait_for(
        connect(address, timeout=CONNECT_SECONDS, **Security().get_connection_args("client")),
        CONNECT_SECONDS,
    )
    await comm.close()


def lost(address: str) -> ServerError:
    """The error for a scheduler that went away."""
    return ServerError(
        f"lost the Dask scheduler at {address}; what was committed is kept",
        hint="rerun the command when it is back",
    )


def _is_lost(error: OSError) -> bool:
    from distributed.comm import CommClosedError

    return isinstance(error, CommClosedError)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences Dask on stderr, because errors here report the same."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"distributed\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check_versions(client: Client, address: str) -> None:
    versions = client.get_versions()
    here = versions["client"]["packages"]
    cluster = {f"the scheduler at {address}": versions["scheduler"]["packages"]}
    for name, worker in versions["workers"].items():
        cluster[f"worker {name}"] = worker["packages"]
    for who, packages in cluster.items():
        for package in _MUST_AGREE:
            theirs, ours = _release(package, packages), _release(package, here)
            if theirs != ours:
                raise _other_version(who, package, theirs, ours)
    installed = client.run(importlib.metadata.version, "dcsh-pg", on_error="return")
    for worker, version in installed.items():
        if version != __version__:
            theirs = version if isinstance(version, str) else "no"
            raise _other_version(f"worker {worker}", "dcsh-pg", theirs, __version__)


def _release(package: str, packages: dict[str, str | None]) -> str:
    """The part of a version that must agree; for Python the minor version."""
    version = packages.get(package) or "no"
    return ".".join(version.split(".")[:2]) if package == "python" else version


def _other_version(who: str, package: str, theirs: str, ours: str) -> ServerError:
    return ServerError(
        f"{who} has {theirs} {package}, this machine has {ours}",
        hint="install the same versions of Python, dask, distributed and dcsh-pg on all of them",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

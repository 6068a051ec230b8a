"""What a server is started with; its workers read it from the environment."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from typing import Literal

VARIABLE = "DCSH_PG_SERVE"
"""Environment variable that passes the settings to worker processes."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a server is started with.

    Attributes:
        archive: the only archive that is served; None serves all that the role may read.
        dsn: libpq string or URL; None: as on the command line.
        pg_bin: folder of the programs of the embedded server.
        device: where models run.
        token: what a browser must know; None asks for none.
        hosts: names, besides IP addresses and localhost, under which browsers reach the server.
        basemap: URL template of raster tiles, '{z}/{x}/{y}', or None.
        connections: most connections to the database, for each worker.
        upload_bytes: largest picture that may be uploaded.
        statement_seconds: longest time of a statement.
        a_second, at_once: requests that a client may make, on average and in a burst.
        cache_bytes: memory for tiles, thumbnails and statistics, for each worker.
        any_driver: open scenes with every driver of GDAL.
        folder: where workers share the columns of archives; None: a temporary one of this process.
    """

    archive: str | None = None
    dsn: str | None = None
    pg_bin: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    token: str | None = None
    hosts: tuple[str, ...] = ()
    basemap: str | None = None
    connections: int = 8
    upload_bytes: int = 32 << 20
    statement_seconds: int = 30
    a_second: float = 100
    at_once: float = 1000
    cache_bytes: int = 128 << 20
    any_driver: bool = False
    folder: str | None = None

    def to_environment(self) -> None:
        """Leaves the settings for :meth:`from_environment` of the workers."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Settings:
        """The settings of the process that started this one."""
        given = json.loads(os.environ[VARIABLE])
        given["hosts"] = tuple(given["hosts"])
        return cls(**{field.name: given[field.name] for field in fields(cls)})

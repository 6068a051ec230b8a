"""How the pipeline runs."""

from __future__ import annotations

from dataclasses import dataclass

from dcsh_pg.progress import SILENT, Progress


@dataclass(frozen=True)
class Pipeline:
    """How an ingestion runs; none of it changes the rows.

    Attributes:
        batch: most chips hashed at once.
        threads: threads that read ahead of the model, on a cluster for each worker.
        scheduler: address of a Dask scheduler, 'tcp://host:8786', whose workers read and hash the
            scenes; None does so in this process.
        progress: receives the progress of the run.
    """

    batch: int = 64
    threads: int = 4
    scheduler: str | None = None
    progress: Progress = SILENT

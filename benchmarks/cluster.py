"""Chips per second of an ingest on a Dask cluster of 1, 2 and 3 workers, and without one.

    python benchmarks/cluster.py --encoder resnet18

Makes scenes, writes a model with random weights and ingests the scenes, alternately without a
cluster and on workers of one thread each, which are processes on this machine.  Then stores codes
hashed before: the rate at which this process writes is the limit for every cluster.  Prints
Markdown: medians, with the range over the repeats.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
from distributed import LocalCluster
from ingest import CHIP_SIZE, cell, write_model

from dcsh_pg.archive import Archive
from dcsh_pg.cluster.worker import Result
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery import Reading, find_scenes
from dcsh_pg.ingest import HashedScene, Pipeline, hash_scenes, store_scenes
from dcsh_pg.plugins import ENCODERS
from dcsh_pg.synthetic.archive import make_archive

NAME = "cluster_benchmark"
STORED_CHIPS = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--encoder", choices=ENCODERS.names(), nargs="+", default=["small", "resnet18"]
    )
    parser.add_argument("--locations", type=int, default=40, help="scenes are twice as many")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dsn", help="default: the embedded server")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scenes = Path(folder) / "scenes"
        make_archive(scenes, locations=options.locations)
        clusters = {count: stack.enter_context(local_cluster(count)) for count in options.workers}
        names = [f"{count} worker{'s' if count > 1 else ''}" for count in options.workers]
        print(f"| encoder | plain, {len(os.sched_getaffinity(0))} cores | {' | '.join(names)} |")
        print(f"| --- | ---: |{' ---: |' * len(names)}")
        for encoder in options.encoder:
            model = Path(folder) / f"{encoder}.onnx"
            write_model(encoder, model)
            rates: dict[int, list[float]] = {count: [] for count in (0, *clusters)}
            for repeat in range(options.repeats + 1):  # the first run of each warms up
                for count in rates:
                    address = clusters[count].scheduler_address if count else None
                    rate = ingest_rate(model, scenes, address, options.dsn)
                    rates[count] += [rate] if repeat else []
            cells = " | ".join(cell(each, 0) for each in rates.values())
            print(f"| {encoder} | {cells} |", flush=True)
        print(f"\n{writing_rate(model, scenes, options)}")


def local_cluster(workers: int) -> LocalCluster:
    return LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
    )


def ingest_rate(model: Path, scenes: Path, scheduler: str | None, dsn: str | None) -> float:
    """Chips per second, from files to committed rows."""
    archive = Archive.create(NAME, model, dsn=dsn)
    try:
        report = archive.ingest([str(scenes)], pipeline=Pipeline(scheduler=scheduler))
    finally:
        registry.drop_archive(archive.connection, NAME)
        archive.connection.close()
    return report.chips / report.seconds


def writing_rate(model: Path, scenes: Path, options: argparse.Namespace) -> str:
    """Rate at which hashed codes are written, and bytes that a worker returns per chip, as text."""
    found = find_scenes([str(scenes)], reading=Reading(chip_size=CHIP_SIZE), bands=3)
    hashed = list(hash_scenes(found, Hasher(model)))
    chips = sum(sum(map(len, scene.codes)) for scene in hashed)
    size = sum(len(pickle.dumps(Result.of(scene))) for scene in hashed) / chips
    copies = [
        copy_of(scene, number) for number in range(-(-STORED_CHIPS // chips)) for scene in hashed
    ]
    records = [scene.record for scene in copies]

    def hashed_before(*_: object) -> Iterator[HashedScene]:
        yield from copies

    rates, shares = [], []
    for _ in range(options.repeats):
        archive = Archive.create(NAME, model, dsn=options.dsn)
        timed = TimedConnection(archive.connection)
        report = store_scenes(records, hashed_before, Loader(timed, archive.record))
        rates.append(report.chips / report.seconds)
        shares.append(timed.seconds / report.seconds)
        registry.drop_archive(archive.connection, NAME)
        archive.connection.close()
    return (
        f"Storing {report.chips:,} chips hashed before: {statistics.median(rates):,.0f} "
        f"chips/s ({min(rates):,.0f} to {max(rates):,.0f}), {statistics.median(shares):.0%} of the "
        f"time in dcsh.end_load; {size:.0f} bytes a chip are sent back."
    )


class TimedConnection:
    """A connection that adds up the seconds in ``dcsh.end_load``, the sequential part."""

    def __init__(self, connection: psycopg.Connection):
        self._connection, self.seconds = connection, 0.0

    def __getattr__(self, name: str):
        return getattr(self._connection, name)

    def execute(self, query: str, *arguments) -> psycopg.Cursor:
        began = time.perf_counter()
        try:
            return self._connection.execute(query, *arguments)
        finally:
            if "dcsh.end_load" in query:
                self.seconds += time.perf_counter() - began


def copy_of(scene: HashedScene, number: int) -> HashedScene:
    """The same chips as another scene."""
    content_hash = hashlib.sha256(f"{scene.record.content_hash}{number}".encode()).hexdigest()
    record = dataclasses.replace(
        scene.record, uri=f"{scene.record.uri}#{number}", content_hash=content_hash
    )
    return dataclasses.replace(scene, record=record)


if __name__ == "__main__":
    main()

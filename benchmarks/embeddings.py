"""Embeddings: how fast vectors become rows, and how many float neighbours codes find.

    python benchmarks/embeddings.py speed                       # 400,000 vectors of 64 numbers, ITQ
    python benchmarks/embeddings.py speed --dimension 256 --bits 256 --dsn postgresql://...
    python benchmarks/embeddings.py recall                      # features that dcsh-pg train has cached

``speed`` writes one GeoParquet file with boxes as footprints and ingests it into a new archive; the
peer copies the same floats, in binary, into a table with a column of pgvector and nothing else.  Both
are repeated in turn, on the same server, the tables dropped after each.  Without ``--dsn`` it is the embedded server.

``recall`` takes the features of one length that the feature cache has (DenseNet-169: 1664), draws 200 of them as
queries, fits each method to the others, and compares the ten nearest of these by Hamming distance, ties by number,
with the ten nearest by cosine.

Prints a Markdown table.  ``speed`` also gives the processor time of this process and of the server's process
for a million vectors, which other programs of the machine do not change much.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import platformdirs
import psycopg
import pyarrow
import shapely
import torch
from pyarrow import parquet

from dcsh_pg import Archive, Hasher, methods
from dcsh_pg.database.archives.copy_rows import COPY_HEADER, COPY_TRAILER
from dcsh_pg.database.server.connect import connect
from dcsh_pg.embeddings import Making, Using, find_embeddings
from dcsh_pg.export import export_run
from dcsh_pg.learning.data.training_set import TrainingSet
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.training.run import Run
from dcsh_pg.train import train

NAME = "embeddings_benchmark"
PEER = "embeddings_benchmark_floats"
QUERIES, NEAREST = 200, 10
BITS = (32, 64, 128, 256, 512, 1024)
METHODS = ("itq", "lsh", "prh", "kulsh", "dcsh")


@dataclass
class Cost:
    """Of one step: seconds by the clock, and of processors here and in the server."""

    wall: float
    here: float
    server: float


@contextmanager
def measured(conn: psycopg.Connection | None = None) -> Iterator[list[Cost]]:
    """Appends the cost of the block to the list."""
    costs: list[Cost] = []
    pid = conn.info.backend_pid if conn else None
    began, here, server = time.perf_counter(), time.process_time(), processor_seconds(pid)
    yield costs
    costs.append(
        Cost(
            time.perf_counter() - began,
            time.process_time() - here,
            processor_seconds(pid) - server,
        )
    )


def processor_seconds(pid: int | None) -> float:
    """Of a process of this machine; 0 where the server is on another."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def speed(arguments: argparse.Namespace) -> None:
    random = np.random.default_rng(0)
    rows, dimension = arguments.rows, arguments.dimension
    values = random.standard_normal((rows, dimension), np.float32)
    found: dict[str, list[Cost]] = {"hashed": [], "rows": [], "floats": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, model = written(folder / "vectors.parquet", values), folder / "model.onnx"
        training = TrainingSet(values[:20_000], scenes=1, embedding=Making().to_json(), pooled=1)
        run = Run(bits=arguments.bits, folder=folder / "run")
        train(training, run, method="itq", encoder="vector")
        export_run(folder / "run", model)
        for _ in range(arguments.repeats):
            found["hashed"] += hashed(file, model)
            found["rows"] += ingested(file, model, arguments.dsn)
            found["floats"] += copied(values, arguments.dsn)
    print(
        f"| {rows:,} vectors of {dimension}, {arguments.bits} bits | vectors/s | CPU s a million: here | server |"
    )
    print("|---|---:|---:|---:|")
    for what, key in (
        ("file to codes", "hashed"),
        ("file to rows: ids, footprints, codes, indexes", "rows"),
        ("the same floats by binary COPY into pgvector, no index", "floats"),
    ):
        rates = [rows / cost.wall for cost in found[key]]
        here, server = (
            median(getattr(cost, name) for cost in found[key]) * 1e6 / rows
            for name in ("here", "server")
        )
        spread = f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        print(f"| {what} | {spread} | {here:.1f} | {server:.1f} |")


def written(path: Path, values: np.ndarray) -> Path:
    """A GeoParquet file with boxes of 0.001 degrees."""
    n = np.arange(len(values))
    west, south = 5 + n % 1000 * 0.001, 45 + n // 1000 * 0.001
    wkb = shapely.to_wkb(shapely.box(west, south, west + 0.001, south + 0.001))
    table = pyarrow.table(
        {
            "embedding": pyarrow.FixedSizeListArray.from_arrays(
                pyarrow.array(values.reshape(-1)), values.shape[1]
            ),
            "geometry": pyarrow.array(wkb, pyarrow.binary()),
        }
    )
    column = {"geometry": {"encoding": "WKB", "geometry_types": ["Polygon"]}}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": column}
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def hashed(file: Path, model: Path) -> list[Cost]:
    """To read and hash."""
    hasher = Hasher(model, device="cpu")
    [found] = find_embeddings([str(file)], Using())
    with measured() as costs:
        for block in found.vectors():
            hasher.hash(block.values)
    return costs


def ingested(file: Path, model: Path, dsn: str | None) -> list[Cost]:
    """To ingest into a new archive."""
    with Archive.create(NAME, model, dsn=dsn, device="cpu") as archive:
        try:
            with measured(archive.connection) as costs:
                report = archive.ingest_embeddings([str(file)])
            report.raise_for_failures()
        finally:
            archive.connection.execute("SELECT dcsh.drop_archive(%s)", [NAME])
    return costs


def copied(values: np.ndarray, dsn: str | None) -> list[Cost]:
    """To copy the floats into a column of pgvector."""
    count, dimension = values.shape
    with connect(dsn) as conn:
        vector = conn.execute("SELECT 'vector'::regtype").fetchone()[0]
        conn.execute(f"DROP TABLE IF EXISTS public.{PEER}")
        conn.execute(f"CREATE TABLE public.{PEER} (id bigint, embedding {vector}({dimension}))")
        into = f"COPY public.{PEER} FROM STDIN (FORMAT binary)"
        with measured(conn) as costs, conn.cursor().copy(into) as copy:
            copy.write(COPY_HEADER)
            for first in range(0, count, 65_536):
                part = values[first : first + 65_536]
                fields = np.empty(
                    len(part),
                    [
                        ("fields", ">i2"), ("id_length", ">i4"), ("id", ">i8"), ("length", ">i4"),
                        ("dimension", ">i2"), ("unused", ">i2"), ("values", ">f4", (dimension,)),
                    ],
                )  # fmt: skip
                fields["fields"], fields["id_length"], fields["length"] = (
                    2,
                    8,
                    4 + 4 * dimension,
                )
                fields["id"], fields["dimension"], fields["unused"] = (
                    np.arange(first, first + len(part)),
                    dimension,
                    0,
                )
                fields["values"] = part
                copy.write(fields.tobytes())
            copy.write(COPY_TRAILER)
        conn.execute(f"DROP TABLE public.{PEER}")
    return costs


def recall(arguments: argparse.Namespace) -> None:
    values = cached_features(arguments.cache, arguments.features)
    order = np.random.default_rng(0).permutation(len(values))
    queries, stored = values[order[:QUERIES]], values[order[QUERIES:]]
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (queries, stored)]
    true = np.argsort(-(unit[0] @ unit[1].T), axis=1, kind="stable")[:, :NEAREST]
    print(
        f"| recall@{NEAREST}, {len(stored)} vectors of {values.shape[1]} | "
        + " | ".join(map(str, arguments.bits))
        + " |"
    )
    print("|---|" + "---:|" * len(arguments.bits))
    for method in arguments.methods:
        cells = [recall_of(method, bits, stored, queries, true) for bits in arguments.bits]
        print(f"| {method} | " + " | ".join(cells) + " |", flush=True)


def cached_features(folder: Path, dimension: int) -> np.ndarray:
    """All features of a length in the cache, float32 (N, dimension), in the order of their keys."""
    cache = sqlite3.connect(f"file:{folder / 'features.sqlite'}?mode=ro", uri=True)
    rows = cache.execute(
        "SELECT value FROM feature WHERE length(value) = ? ORDER BY key", [4 * dimension]
    )
    return np.stack([np.frombuffer(value, np.float32) for (value,) in rows])


def recall_of(
    method: str, bits: int, stored: np.ndarray, queries: np.ndarray, true: np.ndarray
) -> str:
    """Mean share of the true neighbours that codes find, as a cell."""
    try:
        encoder = Encoder("vector", bands=stored.shape[1])
        options = methods.choose_options(method, freeze=True)
        fitted = methods.get(method).fit(stored, encoder, options, Run(bits=bits))
    except Exception as error:
        return f"– ({type(error).__name__})"
    with torch.no_grad():
        z = [fitted(torch.from_numpy(part)).numpy() for part in (queries, stored)]
    signs = [np.where(part >= 0, 1, -1).astype(np.float32) for part in z]
    near = np.argsort(-(signs[0] @ signs[1].T), axis=1, kind="stable")[:, :NEAREST]
    shares = [
        len(set(a) & set(b)) / NEAREST for a, b in zip(near.tolist(), true.tolist(), strict=True)
    ]
    return f"{np.mean(shares):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    of_speed = commands.add_parser("speed")
    of_speed.add_argument("--rows", type=int, default=400_000)
    of_speed.add_argument("--dimension", type=int, default=64)
    of_speed.add_argument("--bits", type=int, default=64)
    of_speed.add_argument("--repeats", type=int, default=3)
    of_speed.add_argument("--dsn")
    of_speed.set_defaults(run=speed)
    of_recall = commands.add_parser("recall")
    of_recall.add_argument(
        "--cache", type=Path, default=Path(platformdirs.user_cache_dir("dcsh-pg")) / "features"
    )
    of_recall.add_argument("--features", type=int, default=1664, help="length of the features")
    of_recall.add_argument("--bits", type=int, nargs="+", default=BITS)
    of_recall.add_argument("--methods", nargs="+", default=METHODS)
    of_recall.set_defaults(run=recall)
    given = parser.parse_args(arguments)
    given.run(given)


if __name__ == "__main__":
    main()

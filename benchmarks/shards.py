"""What an archive costs on one server and over several, in one run.

    python benchmarks/shards.py --dsn postgresql://me@db0/maps \\
        --server postgresql://me@db1/maps --server postgresql://me@db2/maps

For each number of rows the archive is loaded at --dsn and measured there; then it is moved to the
first of the servers, to the first two and so on, measured, and brought back.  Codes are synthetic:
clusters of like codes on a regular grid of footprints.  Some answers of every setting are held to
brute force.  Prints a Markdown table; latencies are medians over queries drawn from the archive, as
a program sees them.

The databases get an archive 'shards_benchmark', dropped at the end.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import shapely
from answers import brute_force
from synthetic_archive import SyntheticScene, clustered_codes, day, grid_footprints, load

from dcsh_pg.database import connection, migrate, registry, search, shards
from dcsh_pg.database.load import Loader

NAME = "shards_benchmark"
ONE_PERCENT = shapely.box(0.4, 0.4, 0.5, 0.5)
CHECKED = 3
"""Queries of each setting that are held to brute force."""


def median_ms(answer: Callable[[bytes], Any], queries: list[bytes]) -> float:
    """Median latency in milliseconds, after every query was asked once."""
    took = []
    for query in [*queries, *queries]:
        began = time.perf_counter()
        answer(query)
        took.append(1000 * (time.perf_counter() - began))
    return float(np.median(took[len(queries) :]))


def load_rate(conn: psycopg.Connection, codes: np.ndarray) -> float:
    """Chips a second of loading ten scenes in one transaction; they are removed again."""
    loader = Loader(conn, registry.get_archive(conn, NAME))
    scenes = np.array_split(codes, 10)
    for number, part in enumerate(scenes):
        windows = np.full((len(part), 4), 64, np.int32)
        loader.add(
            SyntheticScene(f"new/{number}", f"new {number}", day(number)),
            part, windows, grid_footprints(0, len(part), 1000), np.ones(len(part), np.float32), 0,
        )  # fmt: skip
    began = time.perf_counter()
    loader.flush()
    seconds = time.perf_counter() - began
    for number in range(len(scenes)):
        registry.remove_scene(conn, NAME, f"new/{number}")
    return len(codes) / seconds


def row(
    conn: psycopg.Connection,
    codes: np.ndarray,
    queries: list[bytes],
    k: int,
    where: str,
    moved: str,
) -> str:
    """Measures the archive as it lies now."""
    for query in queries[:CHECKED]:
        found = [hit.id - 1 for hit in search.similar(conn, NAME, query, k=k)]
        assert found == brute_force(codes, query, k).tolist(), where
    ways = (
        lambda query: search.similar(conn, NAME, query, k=k),
        lambda query: search.similar(conn, NAME, query, k=k, area=ONE_PERCENT),
        lambda query: search.within(conn, NAME, query, 8 * codes.shape[1] // 16),
    )
    cells = " | ".join(f"{median_ms(way, queries):.1f}" for way in ways)
    rate = load_rate(conn, codes[:20_000])
    return f"| {len(codes):,} | {where} | {cells} | {rate:,.0f} | {moved} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dsn", help="the archive's own server", required=True)
    parser.add_argument("--server", action="append", required=True, help="DSN of a shard")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--bits", type=int, default=64, help="a multiple of 64")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("-k", type=int, default=10)
    options = parser.parse_args()

    migrate.upgrade(connection.resolve(options.dsn))
    conn = connection.connect(options.dsn)
    if any(archive.name == NAME for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, NAME)
    state = migrate.status(conn)
    print(
        f"PostgreSQL {state.server}, {'native index' if state.hamming else 'no native index'}, "
        f"{'PostGIS' if state.layer == 'postgis' else 'no PostGIS'}; all servers on "
        f"{os.cpu_count()} CPUs; codes of {options.bits} bits, k = {options.k}.\n"
    )
    print(
        f"| chips | servers | `similar` ms | in 1 % of the area ms | `within` {options.bits // 16} "
        "bits ms | loaded chips/s | moved chips/s |\n|---:|---:|---:|---:|---:|---:|---:|"
    )
    for rows in options.rows:
        rng = np.random.default_rng(0)
        codes = clustered_codes(rng, rows, options.bits)
        queries = [codes[i].tobytes() for i in rng.integers(0, rows, options.queries)]
        try:
            load(conn, NAME, codes)
            Loader(conn, registry.get_archive(conn, NAME)).finish()
            print(row(conn, codes, queries, options.k, "1, its own", ""), flush=True)
            for count in range(1, len(options.server) + 1):
                began = time.perf_counter()
                shards.shard(conn, NAME, options.server[:count])
                moved = f"{rows / (time.perf_counter() - began):,.0f}"
                where = f"{count} shard{'s' if count > 1 else ''}"
                print(row(conn, codes, queries, options.k, where, moved), flush=True)
                shards.unshard(conn, NAME)
        finally:
            registry.drop_archive(conn, NAME)


if __name__ == "__main__":
    main()

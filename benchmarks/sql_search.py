"""Loading and searching codes in PostgreSQL, beside its peers in one run.

    python benchmarks/sql_search.py                       # embedded server, a million codes
    python benchmarks/sql_search.py --dsn service=maps

Codes are synthetic: clusters of like codes, as hashing real imagery gives, on a regular grid of
footprints.  The peers answer the same query: pgvector's own operator on the same table (its order
among equal distances is left to chance), and numpy over all codes in memory.  Prints a Markdown
table; latencies are the median and the 95th percentile over queries drawn from the archive.

The server gets an archive 'sql_search_benchmark', dropped at the end.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg
import shapely
from pgvector import Bit

from dcsh_pg import codes as packed
from dcsh_pg.card import ModelCard
from dcsh_pg.database import connection, migrate, registry, search
from dcsh_pg.database.load import Loader

NAME = "sql_search_benchmark"
SCENE_CHIPS = 10_000


@dataclass
class SyntheticScene:
    uri: str
    content_hash: str
    collection: None = None
    item_id: None = None
    acquired: None = None
    proj_code: str = "EPSG:4326"
    properties: dict[str, Any] = field(default_factory=dict)


def clustered_codes(rng: np.random.Generator, count: int, bits: int) -> np.ndarray:
    """Packed codes uint8 (count, bits/8): 1000 centres, each bit flipped with probability 0.1."""
    centres = rng.integers(0, 2, (1000, bits), dtype=np.uint8)
    chosen = centres[rng.integers(0, len(centres), count)]
    return np.packbits(chosen ^ (rng.random((count, bits), dtype=np.float32) < 0.1), axis=1)


def grid_footprints(first: int, count: int, side: int) -> np.ndarray:
    """Unit squares of a square grid over one degree times one degree, ``side`` squares a side."""
    index = np.arange(first, first + count)
    x, y = index % side / side, index // side / side
    return shapely.box(x, y, x + 1 / side, y + 1 / side)


def load(conn: psycopg.Connection, codes: np.ndarray) -> float:
    """Loads the codes into a new archive; returns the seconds that Loader took."""
    bits = 8 * codes.shape[1]
    card = ModelCard(
        name="synthetic", method="itq", bits=bits, bands=3, chip_size=64, input_size=64,
        mean=(0.5,) * 3, std=(0.25,) * 3, encoder="none",
    )  # fmt: skip
    model = registry.store_model(conn, card, f"synthetic codes of {bits} bits".encode())
    loader = Loader(conn, registry.create_archive(conn, NAME, model, {}))
    side = int(np.ceil(np.sqrt(len(codes))))
    seconds = 0.0
    for first in range(0, len(codes), SCENE_CHIPS):
        part = codes[first : first + SCENE_CHIPS]
        windows = np.full((len(part), 4), 64, np.int32)
        footprints = grid_footprints(first, len(part), side)
        began = time.perf_counter()
        loader.add(
            SyntheticScene(f"synthetic/{first}", f"{first:064x}"),
            part, windows, footprints, np.ones(len(part), np.float32), 0,
        )  # fmt: skip
        if loader.waiting >= 100_000:
            loader.flush()
        seconds += time.perf_counter() - began
    began = time.perf_counter()
    loader.flush()
    conn.execute(f"VACUUM ANALYZE dcsh.{NAME}")
    return seconds + time.perf_counter() - began


def latency(answer: Callable[[bytes], Any], queries: list[bytes]) -> str:
    """Median and 95th percentile in milliseconds."""
    answer(queries[0])
    took = []
    for query in queries:
        began = time.perf_counter()
        answer(query)
        took.append(1000 * (time.perf_counter() - began))
    return f"{np.median(took):.1f} | {np.percentile(took, 95):.1f}"


def brute_force(codes: np.ndarray, query: bytes, k: int) -> np.ndarray:
    """Indices of the k nearest by (distance, index), on one thread."""
    wide = codes.view(np.uint64)
    distances = np.bitwise_count(wide ^ np.frombuffer(query, np.uint64)).sum(axis=1)
    near = np.flatnonzero(distances <= np.partition(distances, k - 1)[k - 1])
    return near[np.lexsort((near, distances[near]))][:k]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dsn", help="PostgreSQL to use (default: the embedded server)")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=64, help="a multiple of 64")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("-k", type=int, default=10)
    options = parser.parse_args()

    if not connection.is_embedded(options.dsn):
        migrate.upgrade(connection.resolve(options.dsn))
    conn = connection.connect(options.dsn)
    if any(archive.name == NAME for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, NAME)
    rng = np.random.default_rng(0)
    codes = clustered_codes(rng, options.rows, options.bits)
    queries = [codes[i].tobytes() for i in rng.integers(0, len(codes), options.queries)]
    k, area = options.k, shapely.box(0.4, 0.4, 0.5, 0.5)
    try:
        seconds = load(conn, codes)
        for query in queries[:3]:
            found = [hit.id - 1 for hit in search.similar(conn, NAME, query, k=k)]
            assert found == brute_force(codes, query, k).tolist()
        rows = {
            "`dcsh.similar`": lambda q: search.similar(conn, NAME, q, k=k),
            "`dcsh.similar`, 1 % area": lambda q: search.similar(conn, NAME, q, k=k, area=area),
            f"`dcsh.within`, {options.bits // 16} bits": lambda q: search.within(
                conn, NAME, q, options.bits // 16
            ),
            "pgvector `ORDER BY code <~> q LIMIT k`": lambda q: conn.execute(
                f"SELECT id FROM dcsh.{NAME} ORDER BY code <~> %s LIMIT %s", [Bit(q), k]
            ).fetchall(),
            "numpy brute force, 1 thread": lambda q: brute_force(codes, q, k),
        }
        state = migrate.status(conn)
        size = conn.execute(
            f"SELECT pg_size_pretty(pg_table_size('dcsh.{NAME}')), "
            f"pg_size_pretty(pg_indexes_size('dcsh.{NAME}'))"
        ).fetchone()
        print(
            f"PostgreSQL {state.server}, pgvector {state.pgvector}, "
            f"{'PostGIS ' + state.postgis if state.layer == 'postgis' else 'no PostGIS'}; "
            f"{os.cpu_count()} CPUs; {len(codes):,} codes of {options.bits} bits, k = {k}.\n"
            f"Loaded at {len(codes) / seconds:,.0f} rows/s, indexes and VACUUM ANALYZE included; "
            f"table {size[0]}, indexes {size[1]}.\n"
        )
        print("| query | median ms | 95 % ms |\n|---|---:|---:|")
        for title, answer in rows.items():
            print(f"| {title} | {latency(answer, queries)} |")
        first = packed.hamming(codes, np.frombuffer(queries[0], np.uint8))[:, 0]
        assert search.similar(conn, NAME, queries[0], k=1)[0].distance == first.min()
    finally:
        registry.drop_archive(conn, NAME)


if __name__ == "__main__":
    main()

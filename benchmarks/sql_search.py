"""Loading and searching codes in PostgreSQL, compared with its peers.

    python benchmarks/sql_search.py                       # embedded server, a million codes
    python benchmarks/sql_search.py --dsn service=maps

Codes are synthetic: clusters of similar codes, as hashing real imagery gives, on a regular grid of
footprints.  The peers answer the same query: pgvector's operator on the same table (with equal
distances in any order), and numpy over all codes in memory.  Prints a Markdown table of the median
and 95th percentile of the latency over queries drawn from the archive.

Creates an archive 'sql_search_benchmark' and drops it at the end.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
from answers import brute_force
from pgvector import Bit
from synthetic_archive import clustered_codes, load

from dcsh_pg import codes as packed
from dcsh_pg.database.archives import registry
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import hits
from dcsh_pg.database.search.query import CodeQuery
from dcsh_pg.database.server import migrate, schema
from dcsh_pg.database.server.connect import connect, is_embedded, resolve

NAME = "sql_search_benchmark"


def latency(answer: Callable[[bytes], Any], queries: list[bytes]) -> str:
    """Median and 95th percentile in milliseconds."""
    answer(queries[0])
    took = []
    for query in queries:
        began = time.perf_counter()
        answer(query)
        took.append(1000 * (time.perf_counter() - began))
    return f"{np.median(took):.1f} | {np.percentile(took, 95):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dsn", help="PostgreSQL to use (default: the embedded server)")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=64, help="a multiple of 64")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("-k", type=int, default=10)
    options = parser.parse_args()

    if not is_embedded(options.dsn):
        migrate.upgrade(resolve(options.dsn))
    conn = connect(options.dsn)
    if any(archive.name == NAME for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, NAME)
    rng = np.random.default_rng(0)
    codes = clustered_codes(rng, options.rows, options.bits)
    queries = [codes[i].tobytes() for i in rng.integers(0, len(codes), options.queries)]
    k, area = options.k, shapely.box(0.4, 0.4, 0.5, 0.5)
    try:
        seconds = load(conn, NAME, codes)
        for query in queries[:3]:
            found = [hit.id - 1 for hit in hits(conn, NAME, CodeQuery(query), k=k)]
            assert found == brute_force(codes, query, k).tolist()
        rows = {
            "`dcsh.similar`": lambda q: hits(conn, NAME, CodeQuery(q), k=k),
            "`dcsh.similar`, 1 % area": lambda q: hits(
                conn, NAME, CodeQuery(q), Filter(area=area), k
            ),
            f"`dcsh.within`, {options.bits // 16} bits": lambda q: hits(
                conn, NAME, CodeQuery(q), Filter(max_distance=options.bits // 16), None
            ),
            "pgvector `ORDER BY code <~> q LIMIT k`": lambda q: conn.execute(
                f"SELECT id FROM dcsh.{NAME} ORDER BY code <~> %s LIMIT %s", [Bit(q), k]
            ).fetchall(),
            "numpy brute force, 1 thread": lambda q: brute_force(codes, q, k),
        }
        state = schema.status(conn)
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
        assert hits(conn, NAME, CodeQuery(queries[0]), k=1)[0].distance == first.min()
    finally:
        registry.drop_archive(conn, NAME)


if __name__ == "__main__":
    main()

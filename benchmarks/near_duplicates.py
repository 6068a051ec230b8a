"""``dcsh.near_duplicates`` and faiss: time to connect all codes within a radius.

    python benchmarks/near_duplicates.py                             # 100,000 codes, everything
    python benchmarks/near_duplicates.py --rows 1000000 --asked 10000

One client, one connection, everything in memory.  The peer is faiss's range search on
``IndexBinaryFlat``, one thread, and SciPy's connected components of the pairs (``pip install
faiss-cpu scipy``).  It compares every pair.  If ``--asked`` is less than ``--rows``, only that many
codes are looked up and the time is scaled to all of them; otherwise the run fails if the groups
differ.

Prints a Markdown table.  Creates an archive 'duplicates_benchmark' and drops it at the end.
"""

from __future__ import annotations

import argparse
import sys
import time

import faiss
import numpy as np
import psycopg
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from synthetic_archive import clustered_codes, load, uniform_codes

from dcsh_pg.database.archives import registry
from dcsh_pg.database.server import schema
from dcsh_pg.database.server.connect import connect

NAME = "duplicates_benchmark"
CHUNK = 10_000
KINDS = {"clustered": clustered_codes, "uniform": uniform_codes}


def by_sql(conn: psycopg.Connection, radius: int) -> tuple[float, np.ndarray]:
    """Seconds, and the rows (group_id, id) of ``dcsh.near_duplicates``, int64 (N, 2)."""
    began = time.perf_counter()
    rows = conn.execute(
        "SELECT group_id, id FROM dcsh.near_duplicates(%s, %s)", [NAME, radius], binary=True
    ).fetchall()
    return time.perf_counter() - began, np.array(rows, np.int64).reshape(-1, 2)


def by_faiss(codes: np.ndarray, radius: int, asked: int) -> tuple[float, np.ndarray | None]:
    """Seconds for all codes, and the rows; None if not all were looked up."""
    began = time.perf_counter()
    index = faiss.IndexBinaryFlat(8 * codes.shape[1])
    index.add(codes)
    one, other = [], []
    for first in range(0, asked, CHUNK):
        part = codes[first : min(first + CHUNK, asked)]
        ends, _, near = index.range_search(part, radius + 1)
        one.append(np.repeat(np.arange(first, first + len(part)), np.diff(ends.astype(np.int64))))
        other.append(near)
    if asked < len(codes):
        return (time.perf_counter() - began) * len(codes) / asked, None
    pair = np.concatenate(one), np.concatenate(other)
    graph = csr_array((np.ones(len(pair[0]), bool), pair), shape=(len(codes), len(codes)))
    _, label = connected_components(graph, directed=False)
    first_of = np.unique(label, return_index=True)[1][label]
    grouped = np.bincount(label)[label] > 1
    rows = np.stack([first_of, np.arange(len(codes))], axis=1)[grouped] + 1
    return time.perf_counter() - began, rows[np.lexsort(rows.T[::-1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dsn", help="default: the embedded server")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--radius", type=int, nargs="+", default=[0, 2, 4])
    parser.add_argument("--codes", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--asked", type=int, help="codes that faiss looks up; default: all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    asked = min(options.asked or options.rows, options.rows)
    faiss.omp_set_num_threads(1)
    conn = connect(options.dsn)
    schema.require_current(conn)
    version = conn.info.parameter_status("server_version")
    print(f"PostgreSQL {version}, {options.rows:,} codes of {options.bits} bits\n")
    print("| codes | radius | groups | chips in them | `dcsh.near_duplicates`, s | faiss, s |")
    print("|---|---:|---:|---:|---:|---:|")
    for kind in options.codes:
        codes = KINDS[kind](np.random.default_rng(options.seed), options.rows, options.bits)
        if any(archive.name == NAME for archive in registry.list_archives(conn)):
            registry.drop_archive(conn, NAME)
        load(conn, NAME, codes)
        try:
            for radius in options.radius:
                seconds, rows = by_sql(conn, radius)
                peer_seconds, peer_rows = by_faiss(codes, radius, asked)
                if peer_rows is not None and not np.array_equal(rows, peer_rows):
                    sys.exit(
                        f"{kind} codes, radius {radius}: groups differ from those of all pairs"
                    )
                groups = len(np.unique(rows[:, 0]))
                estimated = "" if peer_rows is not None else "about "
                print(
                    f"| {kind} | {radius} | {groups:,} | {len(rows):,} | {seconds:.2f} "
                    f"| {estimated}{peer_seconds:.1f} |",
                    flush=True,
                )
        finally:
            registry.drop_archive(conn, NAME)


if __name__ == "__main__":
    main()

"""Search on a server without the native index: exact, and by pgvector's approximate indexes.

    python benchmarks/approximate.py --dsn postgresql://postgres@db/scratch     # a million codes
    python benchmarks/approximate.py --dsn ... --rows 50000 --queries 50        # quickly

One client, one connection, warm.  ``dcsh.similar`` answers without an index on codes, with a plain
covering index, and with ``exact => false`` by ivfflat and hnsw, as 'dcsh-pg archive index
--approximate' builds them and 'dcsh-pg recall' sets their effort.  faiss (if it is installed) and numpy
compare all codes in memory.  Every answer is compared with brute force: tie-aware recall, and whether
its rows are those of the exact answer.  Queries are new codes of the same distribution, which the
measurement of the recall has not seen.

Prints a Markdown table.  Creates an archive 'approximate_benchmark' and drops it at the end.  The
database must not have the extension dcsh_hamming.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import psycopg
from answers import Truth, brute_force
from pgvector import Bit
from search import describe_machine, milliseconds
from synthetic_archive import clustered_codes, load

from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.approximate_index import create_approximate_index
from dcsh_pg.database.archives.approximation import METHODS, approximation
from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connect import connect, resolve
from dcsh_pg.evaluation.index_recall import measure_index

NAME = "approximate_benchmark"
COVERING = "CREATE INDEX covering ON dcsh.approximate_benchmark (id) INCLUDE (code)"


class Run:
    """Measurements, one row of the table each."""

    def __init__(self, conn: psycopg.Connection, truth: Truth, k: int):
        self.conn, self.truth, self.k = conn, truth, k

    def similar(self, way: str, made: str = "", *, exact: bool = True, condition: str = "") -> None:
        query = (
            f"SELECT id FROM dcsh.similar('{NAME}', %s, k => {self.k}, exact => {exact}{condition})"
        )
        self.ask(way, made, lambda q: [id - 1 for (id,) in self.conn.execute(query, [Bit(q)])])

    def ask(self, way, made, answer) -> None:
        print(way, file=sys.stderr)
        measured = self.truth.measure(way, answer)
        print(
            f"| {way} | {made} | {milliseconds(measured.median_ms)} "
            f"| {milliseconds(measured.p95_ms)} | {measured.recall:.4f} | {measured.exact:.3f} |",
            flush=True,
        )

    def in_memory(self) -> None:
        codes = self.truth.codes
        try:
            import faiss
        except ImportError:
            print("faiss is not installed (pip install faiss-cpu)", file=sys.stderr)
        else:
            faiss.omp_set_num_threads(1)
            flat = faiss.IndexBinaryFlat(8 * codes.shape[1])
            flat.add(codes)
            self.ask(
                "faiss IndexBinaryFlat, 1 thread",
                "",
                lambda q: flat.search(np.frombuffer(q, np.uint8)[None], self.k)[1][0].tolist(),
            )
        self.ask("numpy, 1 thread", "", lambda q: brute_force(codes, q, self.k).tolist())

    def by_index(self, method) -> None:
        print(f"building {method}", file=sys.stderr)
        began = time.perf_counter()
        index = create_approximate_index(self.conn, NAME, method)
        seconds = time.perf_counter() - began
        measure_index(self.conn, NAME, k=self.k)
        (size,) = self.conn.execute("SELECT pg_relation_size(%s::regclass)", [index]).fetchone()
        known = approximation(self.conn, NAME)
        print(f"{index}: {known}", file=sys.stderr)
        self.similar(
            f"`exact => false`, {known.option} {known.setting}",
            f"{method}: {seconds:.1f} s, {size / 1e6:.0f} MB, recall {known.recall:.4f}",
            exact=False,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=64, help="a multiple of 64")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--no-hnsw", action="store_true", help="building it takes minutes")
    options = parser.parse_args()
    machine = describe_machine()
    migrate.upgrade(resolve(options.dsn))
    conn = connect(options.dsn)
    if conn.execute("SELECT dcsh_private.has_hamming()").fetchone()[0]:
        raise SystemExit("the database has the access method hamming: DROP EXTENSION dcsh_hamming")
    if any(archive.name == NAME for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, NAME)
    drawn = clustered_codes(np.random.default_rng(0), options.rows + options.queries, options.bits)
    codes, asked = np.split(drawn, [options.rows])
    try:
        print("loading", file=sys.stderr)
        load(conn, NAME, codes, options.rows // 100)
        print(
            f"{options.rows:,} clustered codes of {options.bits} bits, k = {options.k}. {machine}."
        )
        print(
            "\n| | index | median ms | 95 % ms | recall | as exact |\n|---|---|---:|---:|---:|---:|"
        )
        run = Run(conn, Truth(codes, [code.tobytes() for code in asked], options.k), options.k)
        run.in_memory()
        run.similar("`dcsh.similar`")
        conn.execute(COVERING)
        conn.execute(f"VACUUM dcsh.{NAME}")
        run.similar("`dcsh.similar`", "btree `(id) INCLUDE (code)`")
        conn.execute("DROP INDEX dcsh.covering")
        for method in METHODS[::-1]:
            if method == "ivfflat" or not options.no_hnsw:
                run.by_index(method)
    finally:
        registry.drop_archive(conn, NAME)


if __name__ == "__main__":
    main()

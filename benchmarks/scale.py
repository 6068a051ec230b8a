"""Load, build and exact search of a large table of codes by the index ``hamming``, with faiss as peer.

    python benchmarks/scale.py --rows 10000000
    python benchmarks/scale.py --rows 100000000 --memory 2GB     # 10 GB of disk, 6 GB of memory

Starts a temporary PostgreSQL in --folder.  The table has only an id and a code of 64 bits.  Searches for
the 10 nearest: warm; cold, each after a restart of the server that also evicts the files of the table and
of the index from the system's cache; and warm while another session inserts 1000 rows per transaction.
faiss searches the same codes in memory, with one thread (``pip install faiss-cpu``; skipped if missing).
Every distance is compared with brute force.  Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psycopg
from popcount_loop import popcount_loop
from psycopg import sql
from synthetic_archive import clustered_codes, uniform_codes

from dcsh_pg import codes as packed
from dcsh_pg.database.server.embedded import EmbeddedServer

BITS, K = 64, 10
PART = 1_000_000
BATCH = 1000
COLD_QUERIES = 10
HEADER, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
ROW = np.dtype([("fields", ">i2"), ("id_size", ">i4"), ("id", ">i8"), ("code_size", ">i4"),
                ("bits", ">i4"), ("code", "u1", BITS // 8)])  # fmt: skip
SEARCH = f"SELECT code <~> %s::bit({BITS}) FROM t ORDER BY code <~> %s::bit({BITS}) LIMIT {K}"


def copy_rows(conn: psycopg.Connection, codes: np.ndarray, first: int) -> None:
    """Appends packed codes uint8 (N, 8), with ids from ``first`` on."""
    rows = np.empty(len(codes), ROW)
    rows["fields"], rows["id_size"], rows["code_size"] = 2, 8, 4 + BITS // 8
    rows["bits"], rows["code"] = BITS, codes
    rows["id"] = np.arange(first, first + len(codes))
    with conn.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
        copy.write(HEADER + rows.tobytes() + TRAILER)


def nearest_distances(codes: np.ndarray, query: np.ndarray) -> list[int]:
    """Distances of the K nearest, ascending."""
    counts = np.zeros(BITS + 1, np.int64)
    for first in range(0, len(codes), PART):
        differing = codes[first : first + PART].view(np.uint64) ^ query.view(np.uint64)
        counts += np.bincount(np.bitwise_count(differing).ravel(), minlength=BITS + 1)
    return np.repeat(np.arange(BITS + 1), np.minimum(counts, K))[:K].tolist()


class Table:
    """The table on its server."""

    def __init__(self, server: EmbeddedServer, memory: str):
        self.server, self.memory = server, memory

    def connect(self) -> psycopg.Connection:
        conn = psycopg.connect(self.server.conninfo(), autocommit=True)
        conn.execute("SELECT set_config('maintenance_work_mem', %s, false)", [self.memory])
        conn.execute("SET jit = off")
        return conn

    def evict(self) -> None:
        """Restarts the server with none of the table's and the index's pages in memory."""
        with self.connect() as conn:
            conn.execute("CHECKPOINT")
            names = [conn.execute("SELECT pg_relation_filepath(%s::regclass)", [name]).fetchone()[0]
                     for name in ("t", "t_code")]  # fmt: skip
        self.server.stop()
        for name in names:
            path = Path(self.server.cluster) / name
            for file in path.parent.glob(f"{path.name}*"):
                descriptor = os.open(file, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)
        self.server.start()

    @contextmanager
    def insertions(self, fresh: np.ndarray, first: int) -> Iterator[list[float]]:
        """Inserts rows in another session meanwhile; gives a list that receives the rows per second."""
        stop, rates = threading.Event(), []

        def insert() -> None:
            began, rows = time.perf_counter(), 0
            with self.connect() as conn:
                while not stop.is_set() and rows + BATCH <= len(fresh):
                    copy_rows(conn, fresh[rows : rows + BATCH], first + rows)
                    rows += BATCH
            rates.append(rows / (time.perf_counter() - began))

        thread = threading.Thread(target=insert)
        thread.start()
        try:
            yield rates
        finally:
            stop.set()
            thread.join()


def measure(
    way: str, search: Callable[[np.ndarray], list[int]], queries: np.ndarray, wanted: list | None
) -> str:
    """A row of the report.

    Raises:
        SystemExit: an answer is wrong.
    """
    seconds = []
    for number, query in enumerate(queries):
        began = time.perf_counter()
        found = search(query)
        seconds.append(time.perf_counter() - began)
        if wanted is not None and found != wanted[number]:
            raise SystemExit(f"{way}: distances {found}, not {wanted[number]}")
    median, p95 = 1000 * np.quantile(seconds, [0.5, 0.95])
    return f"| {way} | {len(queries)} | {median:.3g} | {p95:.3g} |"


def by_index(conn: psycopg.Connection) -> Callable[[np.ndarray], list[int]]:
    def search(query: np.ndarray) -> list[int]:
        code = packed.to_text(query)
        return [int(distance) for (distance,) in conn.execute(SEARCH, [code, code])]

    return search


def in_memory(codes: np.ndarray, queries: np.ndarray, wanted: list) -> Iterator[str]:
    loop = popcount_loop(codes)
    yield measure("C loop of popcounts, 1 thread", lambda q: [loop(q.tobytes())], queries, None)
    try:
        import faiss
    except ImportError:
        return
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexBinaryFlat(BITS)
    flat.add(codes)
    yield measure("faiss IndexBinaryFlat, 1 thread",
                  lambda q: flat.search(q[None], K)[0][0].tolist(), queries, wanted)  # fmt: skip


def load_and_build(conn: psycopg.Connection, codes: np.ndarray) -> Iterator[str]:
    began = time.perf_counter()
    conn.execute(f"CREATE TABLE t (id bigint, code bit({BITS}))")
    for first in range(0, len(codes), PART):
        copy_rows(conn, codes[first : first + PART], first)
    loaded = time.perf_counter()
    conn.execute("VACUUM ANALYZE t")
    vacuumed = time.perf_counter()
    conn.execute("CREATE EXTENSION dcsh_hamming CASCADE")
    conn.execute("CREATE INDEX t_code ON t USING hamming (code)")
    built = time.perf_counter()
    size, peak = conn.execute(
        "SELECT pg_relation_size('t_code'), substring(pg_read_file("
        "'/proc/' || pg_backend_pid() || '/status') from 'VmHWM:\\s+(\\d+)')::bigint"
    ).fetchone()
    yield f"loaded at {len(codes) / (loaded - began):,.0f} rows/s, VACUUM ANALYZE {vacuumed - loaded:.1f} s"
    yield f"index built in {built - vacuumed:.1f} s, {size / len(codes):.1f} bytes a row, peak of the session {peak / 2**20:.2f} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--codes", choices=["clustered", "uniform"], default="clustered")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--memory", default="2GB", help="maintenance_work_mem of the build")
    parser.add_argument("--shared-buffers", default="2GB")
    parser.add_argument("--folder", type=Path, help="where the server's files go")
    options = parser.parse_args()
    print(f"{options.rows:,} {options.codes} codes of {BITS} bits, k = {K}, {os.cpu_count()} CPUs, "
          f"load average {os.getloadavg()[0]:.1f}")  # fmt: skip
    draw = {"clustered": clustered_codes, "uniform": uniform_codes}[options.codes]
    drawn = draw(np.random.default_rng(0), options.rows + options.queries + PART, BITS)
    codes, queries, fresh = np.split(drawn, [options.rows, options.rows + options.queries])
    wanted = [nearest_distances(codes, query) for query in queries]

    folder = Path(tempfile.mkdtemp(prefix="dcsh-scale-", dir=options.folder))
    folder.chmod(0o755)
    server = EmbeddedServer.of(folder=folder)
    server.start()
    try:
        server.install_native()
        with psycopg.connect(server.conninfo(), autocommit=True) as conn:
            conn.execute("ALTER SYSTEM SET autovacuum = off")
            conn.execute("ALTER SYSTEM SET max_wal_size = '4GB'")
            conn.execute(
                sql.SQL("ALTER SYSTEM SET shared_buffers = {}").format(options.shared_buffers)
            )
        server.stop()
        server.start()
        table = Table(server, options.memory)
        with table.connect() as conn:
            for line in load_and_build(conn, codes):
                print(line, flush=True)
        print("\n| search | queries | median ms | 95 % ms |\n|---|---:|---:|---:|")
        cold = []
        for number in range(COLD_QUERIES):
            table.evict()
            with table.connect() as conn:
                conn.execute("SELECT 1 FROM pg_extension")
                began = time.perf_counter()
                found = by_index(conn)(queries[number])
                cold.append(1000 * (time.perf_counter() - began))
                assert found == wanted[number]
        median, p95 = np.quantile(cold, [0.5, 0.95])
        print(f"| hamming, cold | {COLD_QUERIES} | {median:.3g} | {p95:.3g} |", flush=True)
        with table.connect() as conn:
            search = by_index(conn)
            for query in queries:
                search(query)
            print(measure("hamming, warm", search, queries, wanted), flush=True)
            with table.insertions(fresh, len(codes)) as rates:
                row = measure("hamming, warm, beside insertions", search, queries, None)
            print(row, flush=True)
        for line in in_memory(codes, queries, wanted):
            print(line, flush=True)
        print(f"\nInsertions beside the searches: {rates[0]:,.0f} rows/s.")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

"""Exact Hamming search in PostgreSQL by the index ``hamming``, compared with its peers.

    python benchmarks/search.py                              # embedded server, a million codes
    python benchmarks/search.py --rows 20000 --queries 50    # everything, quickly
    python benchmarks/search.py --rows 10000000 --bits 128 --no-hnsw
    python benchmarks/search.py --archive aerial             # the codes of an archive of this database

One client, one connection, everything in memory.  The peers answer the same queries on the same
archive: pgvector's operator without an index, pgvector's HNSW, faiss (``pip install faiss-cpu``;
skipped if missing), numpy, and a plain C loop of popcounts over the same bytes, which only adds up
the distances and so is the limit for every exact scan.  Every answer is compared with brute force:
tie-aware recall, number of rows, the rows in the order (distance, id), and the answer to the same
query again.  The run fails if the index or ``dcsh.similar`` breaks a promise.

Prints Markdown tables and writes JSON.  Creates an archive 'search_benchmark' and a schema
'dcsh_insert_benchmark', and drops them at the end.  Queries are new codes of the same distribution;
with --archive they are a random sample that is taken out of the archive's codes, as are the codes to insert.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from answers import QUALITY, Answer, Measured, Truth, brute_force
from inserts import BTREE, insert_rates
from pgvector import Bit
from popcount_loop import popcount_loop
from synthetic_archive import archive_codes, clustered_codes, load, uniform_codes
from ways import NAME, SCENES, TABLE, Condition, Server, conditions, settings

from dcsh_pg.database.archives import registry
from dcsh_pg.database.server import migrate, schema
from dcsh_pg.database.server.connect import connect, is_embedded, resolve

EF_SEARCH = (40, 100, 400)
INDEX = "search_benchmark_index"
LOOP = "C loop of popcounts, 1 thread"
FAISS = "faiss IndexBinaryFlat, 1 thread"
HNSW_BUILD, HAMMING_BUILD = "hnsw (code bit_hamming_ops)", "hamming (code)"
INSERT_REPEATS = 5

EXACT = ("recall", "repeated")
"""Measurements that must be 1 if a way promises the k nearest rows, the same each time."""

ORDERED = (*EXACT, "exact")
"""The same if it also promises the order (distance, id)."""


@dataclass(frozen=True)
class Built:
    """Build time and size of an index."""

    index: str
    seconds: float
    bytes_per_row: float


class Run:
    """The measurements of one run; each is reported on stderr."""

    def __init__(self, server: Server, truth: Truth, conditions: list[Condition]):
        self.server, self.truth, self.conditions = server, truth, conditions
        self.plain: list[Measured] = []
        self.filtered: dict[str, list[Measured]] = {c.name: [] for c in conditions}
        self.built: list[Built] = []
        self.loop: dict[str, float] | None = None
        self.broken: list[str] = []

    def ask(self, way: str, answer: Answer, promised: tuple[str, ...] = ()) -> None:
        print(way, file=sys.stderr)
        self.plain.append(self.truth.measure(way, answer))
        self._hold(self.plain[-1], way, promised)

    def ask_filtered(
        self, way: str, answer: Callable[[Condition], Answer], promised: tuple[str, ...] = ()
    ) -> None:
        for condition in self.conditions:
            print(f"{way}, {condition.name}", file=sys.stderr)
            measured = condition.truth.measure(way, answer(condition))
            self.filtered[condition.name].append(measured)
            self._hold(measured, f"{way}, {condition.name}", promised)

    def _hold(self, measured: Measured, way: str, promised: tuple[str, ...]) -> None:
        self.broken += [
            f"{way}: {name} is {getattr(measured, name)}, not 1"
            for name in promised
            if getattr(measured, name) != 1
        ]

    def build(self, how: str) -> None:
        """Creates INDEX on the codes."""
        print(f"building {how}", file=sys.stderr)
        conn = self.server.conn
        began = time.perf_counter()
        conn.execute(f"CREATE INDEX {INDEX} ON {TABLE} USING {how}")
        seconds = time.perf_counter() - began
        (size,) = conn.execute(f"SELECT pg_relation_size('dcsh.{INDEX}')").fetchone()
        conn.execute(f"VACUUM ANALYZE {TABLE}")
        self.built.append(Built(how, seconds, size / len(self.truth.codes)))

    def drop(self) -> None:
        self.server.conn.execute(f"DROP INDEX dcsh.{INDEX}")

    def in_memory(self) -> dict[str, str]:
        """The C loop, faiss and numpy; returns the skipped ones with the reason."""
        codes, k, missing = self.truth.codes, self.server.k, {}
        try:
            loop = popcount_loop(codes)
        except (OSError, subprocess.CalledProcessError) as error:
            missing[LOOP] = f"does not compile: {error}"
        else:
            query = self.truth.queries[0]
            differing = codes.view(np.uint64) ^ np.frombuffer(query, np.uint64)
            assert loop(query) == np.bitwise_count(differing).sum(dtype=np.int64)
            print(LOOP, file=sys.stderr)
            self.loop = time_of(loop, self.truth.queries)
        try:
            import faiss
        except ImportError:
            missing[FAISS] = "not installed (pip install faiss-cpu)"
        else:
            faiss.omp_set_num_threads(1)
            began = time.perf_counter()
            flat = faiss.IndexBinaryFlat(8 * codes.shape[1])
            flat.add(codes)
            self.built.append(Built(FAISS, time.perf_counter() - began, codes.shape[1]))
            self.ask(
                FAISS,
                lambda q: flat.search(np.frombuffer(q, np.uint8)[None], k)[1][0].tolist(),
            )
        self.ask("numpy, 1 thread", lambda q: brute_force(codes, q, k).tolist())
        return missing

    def by_scan(self, workers: int) -> None:
        """pgvector's operator and dcsh.similar, both without an index."""
        conn, server = self.server.conn, self.server
        with settings(conn, max_parallel_workers_per_gather=0):
            self.ask("pgvector, sequential scan, 1 process", server.raw(plan="Seq Scan"))
        if workers:
            conn.execute(f"ALTER TABLE {TABLE} SET (parallel_workers = {workers})")
            with settings(
                conn,
                max_parallel_workers_per_gather=workers,
                parallel_setup_cost=0,
                parallel_tuple_cost=0,
            ):
                way = f"pgvector, sequential scan, {workers + 1} processes"
                self.ask(way, server.raw(plan="Parallel Seq Scan"))
            conn.execute(f"ALTER TABLE {TABLE} RESET (parallel_workers)")
        self.ask("`dcsh.similar` without the index", server.similar(), ORDERED)
        self.ask_filtered("pgvector, the planner's choice without an index on codes", server.raw)
        self.ask_filtered("`dcsh.similar` without the index", server.similar, ORDERED)

    def by_hamming(self) -> dict[str, Any]:
        """This project's index; returns its statistics."""
        conn, server = self.server.conn, self.server
        self.build(HAMMING_BUILD)
        conn.execute("SELECT dcsh.hamming_check(%s::regclass)", [f"dcsh.{INDEX}"])
        raw = server.raw(plan=f"using {INDEX}")
        self.ask("hamming, `ORDER BY code <~> q LIMIT k`", raw, EXACT)
        self.ask("hamming, `ORDER BY code <~> q, id LIMIT k`", server.ordered(INDEX), ORDERED)
        self.ask("hamming, `dcsh.similar`", server.similar(), ORDERED)
        self.ask_filtered("the planner's choice with hamming", server.raw, EXACT)
        self.ask_filtered("hamming, `dcsh.similar`", server.similar, ORDERED)
        shares = [
            conn.execute(
                "SELECT dcsh.hamming_skipped(%s::regclass, %s)", [f"dcsh.{INDEX}", Bit(query)]
            ).fetchone()[0]
            for query in self.truth.queries
        ]
        (kernel,) = conn.execute(
            "SELECT kernel FROM dcsh.hamming_stats(%s::regclass)", [f"dcsh.{INDEX}"]
        ).fetchone()
        self.drop()
        return {"kernel": kernel, "skipped": float(np.mean(shares))}

    def by_hnsw(self) -> None:
        conn, server = self.server.conn, self.server
        self.build(HNSW_BUILD)
        for ef_search in EF_SEARCH:
            with settings(conn, hnsw__ef_search=ef_search, enable_seqscan="off"):
                self.ask(f"HNSW, ef_search {ef_search}", server.raw(plan=f"using {INDEX}"))
        # From pgvector 0.8 on.
        (iterative,) = conn.execute(
            "SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'hnsw.iterative_scan')"
        ).fetchone()
        for scan in ("off", "strict_order", "relaxed_order") if iterative else ():
            with settings(conn, hnsw__iterative_scan=scan, enable_seqscan="off", enable_sort="off"):
                self.ask_filtered(
                    f"HNSW, ef_search 40, iterative scan {scan}",
                    lambda condition: server.raw(condition, plan=f"using {INDEX}"),
                )
        self.drop()


def time_of(function: Callable[[bytes], Any], queries: list[bytes]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    function(queries[0])
    seconds = []
    for query in queries:
        began = time.perf_counter()
        function(query)
        seconds.append(time.perf_counter() - began)
    median, p95 = 1000 * np.quantile(seconds, [0.5, 0.95])
    return {"median_ms": float(median), "p95_ms": float(p95)}


def milliseconds(value: float) -> str:
    """Three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def print_report(report: dict[str, Any], run: Run) -> None:
    rows, k = report["rows"], report["k"]
    loop = run.loop and run.loop["median_ms"]
    faiss = next((m.median_ms for m in run.plain if m.way == FAISS), None)

    def times(value: float | None, over: float | None, digits: int = 2) -> str:
        return f"{value / over:.{digits}f}" if value and over else ""

    print(f"{rows:,} codes ({report['codes']}) of {report['bits']} bits, k = {k}.\n")
    print(f"{report['server']}, {report['settings']}.")
    print(f"{report['machine']}; {report['software']}; popcount by {report['kernel']}.")
    print(f"Loaded at {report['loaded_rows_per_second']:,.0f} rows/s, VACUUM ANALYZE included.")
    print(f"Data pages that the first pass skips: {100 * report['skipped']:.1f} %.")
    for way, why in report["left_out"].items():
        print(f"Left out: {way}, {why}.")
    quality = QUALITY.replace("@k", f"@{k}")
    print(
        f"\n| way | queries | median ms | 95 % ms | × faiss | million rows/s | of the C loop "
        f"| {quality} |\n|---|{'---:|' * 10}"
    )
    if run.loop:
        speed, bandwidth = rows / loop / 1e3, rows * report["bits"] / 8 / loop / 1e6
        print(
            f"| {LOOP}, {bandwidth:.1f} GB/s | {report['queries']} | {milliseconds(loop)} "
            f"| {milliseconds(run.loop['p95_ms'])} | {times(loop, faiss)} | {speed:,.0f} | 1.00 | | | | |"
        )
    for m in run.plain:
        print(
            f"| {m.way} | {m.queries} | {milliseconds(m.median_ms)} | {milliseconds(m.p95_ms)} "
            f"| {times(m.median_ms, faiss)} | {rows / m.median_ms / 1e3:,.0f} "
            f"| {times(loop, m.median_ms)} | {m.quality()} |"
        )
    seconds = {b.index: b.seconds for b in run.built}
    faster = times(seconds.get(HNSW_BUILD), seconds[HAMMING_BUILD], 0)
    print("\n| index | build s | times as fast as HNSW | bytes a row |\n|---|---:|---:|---:|")
    for b in run.built:
        print(
            f"| {b.index} | {b.seconds:.2f} | {faster if b.index == HAMMING_BUILD else ''} | {b.bytes_per_row:.1f} |"
        )
    print(
        f"\n| condition | way | queries | median ms | 95 % ms | {quality} |\n|---|---|{'---:|' * 7}"
    )
    for name, measured in run.filtered.items():
        for m in measured:
            print(
                f"| {name} | {m.way} | {m.queries} | {milliseconds(m.median_ms)} | {milliseconds(m.p95_ms)} "
                f"| {m.quality()} |"
            )
    rates = {rate["index"]: rate for rate in report["inserts"]}
    print(
        "\n| index of the table | rows/s | slowest | fastest | of btree |\n"
        "|---|---:|---:|---:|---:|"
    )
    for index, rate in rates.items():
        print(
            f"| {index} | {rate['rows_per_second']:,.0f} | {rate['slowest']:,.0f} "
            f"| {rate['fastest']:,.0f} "
            f"| {times(rate['rows_per_second'], rates[BTREE]['rows_per_second'])} |"
        )


def codes_to_search(
    conn: psycopg.Connection, options: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Packed codes uint8 (N, bits/8) to load, to search for, and to insert."""
    rng = np.random.default_rng(0)
    if options.archive is None:
        inserted = INSERT_REPEATS * max(10_000, options.rows // 20)
        draw = {"clustered": clustered_codes, "uniform": uniform_codes}[options.codes]
        drawn = draw(rng, options.rows + options.queries + inserted, options.bits)
        codes, asked, fresh = np.split(drawn, [options.rows, options.rows + options.queries])
        return codes, asked, fresh
    codes = archive_codes(conn, options.archive)
    shuffled = rng.permutation(len(codes))
    asked, fresh, kept = np.split(shuffled, [options.queries, options.queries + len(codes) // 5])
    return codes[np.sort(kept)], codes[asked], codes[fresh]


def describe_machine() -> str:
    """Processor, cores and their load."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f} at the start"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dsn", help="PostgreSQL to use (default: the embedded server)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of synthetic codes")
    parser.add_argument("--bits", type=int, default=64, help="of synthetic codes, a multiple of 64")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--codes", choices=["clustered", "uniform"], default="clustered")
    source.add_argument(
        "--archive", metavar="NAME", help="search the codes of this archive instead"
    )
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--workers", type=int, default=(os.cpu_count() or 1) - 1, help="of a scan")
    parser.add_argument("--memory", default="1GB", help="maintenance_work_mem of the builds")
    parser.add_argument("--no-hnsw", action="store_true", help="building it takes minutes")
    parser.add_argument("--out", type=Path, default=Path("runs/search.json"))
    options = parser.parse_args()
    machine = describe_machine()
    if not is_embedded(options.dsn):
        migrate.upgrade(resolve(options.dsn))
    conn = connect(options.dsn)
    if not conn.execute("SELECT dcsh_private.has_hamming()").fetchone()[0]:
        raise SystemExit("the database has no access method hamming: see 'dcsh-pg native status'")
    names = {archive.name for archive in registry.list_archives(conn)}
    if options.archive is not None and options.archive not in names - {NAME}:
        parser.error(f"--archive: no archive '{options.archive}' to take codes from")
    if NAME in names:
        registry.drop_archive(conn, NAME)
    state = schema.status(conn)
    conn.execute("SET jit = off")
    conn.execute("SELECT set_config('maintenance_work_mem', %s, false)", [options.memory])

    codes, asked, fresh = codes_to_search(conn, options)
    rows, bits = len(codes), 8 * codes.shape[1]
    if bits % 64:
        raise SystemExit(f"the codes have {bits} bits, not a multiple of 64")
    if rows < 200 * options.k:
        raise SystemExit(f"{rows} rows, but 1 % of them must be at least 2 x {options.k} (-k)")
    queries = [code.tobytes() for code in asked]
    scene_chips = -(-rows // SCENES)
    truth = Truth(codes, queries, options.k)
    try:
        print("loading", file=sys.stderr)
        loaded = rows / load(conn, NAME, codes, scene_chips)
        run = Run(
            Server(conn, options.k, queries[0]),
            truth,
            conditions(conn, codes, queries, options.k, scene_chips),
        )
        run.by_scan(options.workers)
        left_out = run.in_memory()
        facts = run.by_hamming()
        if options.no_hnsw:
            left_out["HNSW"] = "not requested"
        else:
            run.by_hnsw()
        print("inserting", file=sys.stderr)
        inserts = insert_rates(conn, NAME, fresh, INSERT_REPEATS)
    finally:
        registry.drop_archive(conn, NAME)
    configured = conn.execute(
        "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s) ORDER BY name",
        [["shared_buffers", "maintenance_work_mem", "max_parallel_maintenance_workers"]],
    ).fetchall()
    report = {
        "server": f"PostgreSQL {state.server}, pgvector {state.pgvector}, "
        + (f"PostGIS {state.postgis}" if state.layer == "postgis" else "no PostGIS"),
        "settings": ", ".join(f"{name} {value}" for name, value in configured),
        "machine": machine,
        "software": f"Python {platform.python_version()}, numpy {np.__version__}",
        "rows": rows,
        "bits": bits,
        "codes": f"archive {options.archive}" if options.archive else options.codes,
        "queries": len(queries),
        "k": options.k,
        "loaded_rows_per_second": loaded,
        "left_out": left_out,
        **facts,
        "c_loop": run.loop,
        "all_rows": [asdict(measured) for measured in run.plain],
        "conditions": {name: [asdict(m) for m in each] for name, each in run.filtered.items()},
        "indexes": [asdict(built) for built in run.built],
        "inserts": [asdict(rate) for rate in inserts],
    }
    print_report(report, run)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    if run.broken:
        raise SystemExit("wrong answers:\n" + "\n".join(run.broken))


if __name__ == "__main__":
    main()

"""An archive on a Citus cluster compared with the same archive on its coordinator alone.

    python benchmarks/citus.py --dsn postgresql://me@coordinator/maps
    python benchmarks/citus.py --dsn ... --rows 100000 1000000 --workers 1 2 --shards 1 4
    python benchmarks/citus.py --dsn ... --rows 10000000 --workers 1 2 3 --copy

Codes are synthetic and clustered, footprints lie on a grid, and every scene has its own day.  The
same queries run on both archives alternately, and their rows are compared: the run fails if they
differ.  ``--workers`` sets how many of the cluster's workers hold shards, ``--shards`` how many
shards each of them holds.  On servers that share a machine this shows the cost of distribution, not
the gain from more machines.  The last two rows are the least that a query of a distributed table
costs: any row, and the nearest rows without a function of dcsh.

Prints a Markdown table of median milliseconds as a client sees them.  The archives 'single' and
'distributed' are dropped at the end.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from pgvector import Bit
from psycopg.conninfo import make_conninfo
from synthetic_archive import SCENE_CHIPS, clustered_codes, day, load

from dcsh_pg.database.archives import distributed, registry
from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connect import connect, resolve

AREA = "area => ST_MakeEnvelope({0}, {0}, {1}, {1}, 4326)"
TENTH, ONE, TEN = AREA.format(0.4, 0.4316), AREA.format(0.4, 0.5), AREA.format(0.3, 0.616)
HITS = "SELECT id, distance, geom FROM dcsh."
SEARCHES = {
    "`similar`, k = 10": HITS + "similar('{archive}', %(code)s, k => 10)",
    "`similar`, 0.1 % area": HITS + f"similar('{{archive}}', %(code)s, k => 10, {TENTH})",
    "`similar`, 1 % area": HITS + f"similar('{{archive}}', %(code)s, k => 10, {ONE})",
    "`similar`, 10 % area": HITS + f"similar('{{archive}}', %(code)s, k => 10, {TEN})",
    "`similar`, 10 % area, half the time, distance": (
        HITS + f"similar('{{archive}}', %(code)s, k => 10, {TEN}, "
        "since => %(since)s, until => %(until)s, max_distance => 12)"
    ),
    "`similar_to`": HITS + "similar_to('{archive}', %(id)s, k => 10)",
    "`within` 4 bits": HITS + "within('{archive}', %(code)s, 4)",
    "`within` 8 bits, 1 % area": HITS + f"within('{{archive}}', %(code)s, 8, {ONE})",
    "`SELECT 1 ... LIMIT 1`": "SELECT 1 FROM dcsh.{archive} LIMIT 1",
    "`ORDER BY code <~> ... LIMIT 10`": (
        "SELECT id, geom FROM dcsh.{archive} ORDER BY code <~> %(code)s, id LIMIT 10"
    ),
}
WHOLE = {
    "`code_statistics`": "SELECT * FROM dcsh.code_statistics('{archive}')",
    "`coverage`": "SELECT * FROM dcsh.coverage('{archive}')",
}
Row = dict[str, float]


class Clock:
    """Milliseconds that a client waits; or, with ``processor``, that the session's process on the
    coordinator and on the busiest worker compute, which other work on the machine changes less.

    The latter needs all nodes on this machine, and Linux.
    """

    def __init__(self, conn: psycopg.Connection, processor: bool):
        self.conn, self.processor = conn, processor
        if processor:  # helpers of the session are not counted
            conn.execute("SET max_parallel_workers_per_gather = 0")
            conn.execute("SET citus.max_cached_connection_lifetime = -1")

    def backends(self) -> list[int]:
        """Processes of this session: on the coordinator, then on the workers."""
        found = [self.conn.info.backend_pid]
        [name] = self.conn.execute(
            "SELECT 'citus_internal gpid=' || citus_backend_gpid()"
        ).fetchone()
        for host, port in self.conn.execute("SELECT * FROM citus_get_active_worker_nodes()"):
            with psycopg.connect(make_conninfo(self.conn.info.dsn, host=host, port=port)) as there:
                query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
                found += [pid for (pid,) in there.execute(query, [name])]
        return found

    def timed(
        self, name: str, archive: str, arguments: dict[str, Any], backends: list[int]
    ) -> tuple[float, list]:
        query = (SEARCHES | WHOLE)[name].format(archive=archive)
        began = self._now(backends)
        rows = self.conn.execute(query, arguments).fetchall()
        coordinator, *workers = self._now(backends) - began
        return coordinator + max(workers, default=0), rows

    def _now(self, backends: list[int]) -> np.ndarray:
        if not self.processor:
            return np.array([1000 * time.perf_counter()])
        ran = [Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in backends]
        return np.array(ran, dtype=float) / 1e6


def compare(clock: Clock, codes: np.ndarray, queries: int) -> tuple[Row, Row]:
    """Median milliseconds of every query on both archives.

    Raises:
        SystemExit: an answer differs.
    """
    rng = np.random.default_rng(1)
    scenes = len(codes) // SCENE_CHIPS
    single, spread = {}, {}
    for name in (*SEARCHES, *WHOLE):
        took: dict[str, list[float]] = {"single": [], "distributed": []}
        backends = [clock.conn.info.backend_pid]
        for number in range((queries if name in SEARCHES else 3) + 1):
            chip = int(rng.integers(len(codes)))
            arguments = {
                "code": Bit(codes[chip].tobytes()), "id": chip + 1,
                "since": day(scenes // 4), "until": day(scenes // 4 + scenes // 2),
            }  # fmt: skip
            answers = {}
            for archive in took:
                milliseconds, answers[archive] = clock.timed(name, archive, arguments, backends)
                if number:  # the first run warms up
                    took[archive].append(milliseconds)
            if clock.processor and not number:
                backends = clock.backends()
            if answers["single"] != answers["distributed"]:
                raise SystemExit(f"{name} differs for chip {chip + 1}")
        single[name], spread[name] = (float(np.median(took[archive])) for archive in took)
    return single, spread


def place(conn: psycopg.Connection, count: int) -> None:
    """Allows shards on the first ``count`` workers only."""
    workers = conn.execute(
        "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 AND isactive ORDER BY 1, 2"
    ).fetchall()
    if len(workers) < count:
        raise SystemExit(f"the cluster has {len(workers)} workers, not {count}")
    for number, worker in enumerate(workers):
        conn.execute(
            "SELECT citus_set_node_property(%s, %s, 'shouldhaveshards', %s)",
            [*worker, number < count],
        )


def copy(conn: psycopg.Connection, source: str, name: str, shards: int) -> None:
    """Makes a distributed archive of the chips of another one, whose scenes it does not have."""
    model = registry.get_archive(conn, source).model_sha256
    registry.create_archive(conn, name, model, {})
    distributed.distribute(conn, name, shards=shards)
    conn.execute(f"INSERT INTO dcsh.{name} SELECT * FROM dcsh.{source}")
    conn.execute(f"VACUUM ANALYZE dcsh.{name}")


def drop(conn: psycopg.Connection, *names: str) -> None:
    for archive in registry.list_archives(conn):
        if archive.name in names:
            registry.drop_archive(conn, archive.name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dsn", required=True, help="coordinator of a Citus cluster")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument("--shards", type=int, nargs="+", default=[1], help="per worker")
    parser.add_argument(
        "--copy", action="store_true", help="fill 'distributed' from 'single', without timing that"
    )
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument(
        "--processor",
        action="store_true",
        help="processor time, where other work shares the machine",
    )
    options = parser.parse_args()

    migrate.upgrade(resolve(options.dsn))
    conn = connect(options.dsn)
    clock = Clock(conn, options.processor)
    (native,) = conn.execute("SELECT dcsh_private.has_hamming()").fetchone()
    print(f"{'With' if native else 'Without'} the native index, {options.bits} bits\n")
    columns = [*SEARCHES, *WHOLE, "load, chips/s"]
    print("| chips | servers | " + " | ".join(columns) + " |")
    print("| ---: | --- |" + " ---: |" * len(columns))
    try:
        for rows in options.rows:
            drop(conn, "single", "distributed")
            codes = clustered_codes(np.random.default_rng(0), rows, options.bits)
            alone = rows / load(conn, "single", codes)
            if native:
                registry.create_code_index(conn, "single")
            for workers in options.workers:
                place(conn, workers)
                for shards in options.shards:
                    drop(conn, "distributed")
                    rate = float("nan")
                    if options.copy:
                        copy(conn, "single", "distributed", shards * workers)
                    else:
                        rate = rows / load(conn, "distributed", codes, shards=shards * workers)
                    if native:
                        registry.create_code_index(conn, "distributed")
                    single, spread = compare(clock, codes, options.queries)
                    for label, figures, loaded in (
                        ("1", single, alone),
                        (f"{workers} workers, {shards * workers} shards", spread, rate),
                    ):
                        shown = [f"{figures[name]:.1f}" for name in (*SEARCHES, *WHOLE)]
                        print(
                            f"| {rows:,} | {label} | "
                            + " | ".join([*shown, f"{loaded:,.0f}"])
                            + " |",
                            flush=True,
                        )
    finally:
        drop(conn, "single", "distributed")
        place(conn, max(options.workers))


if __name__ == "__main__":
    main()

"""An archive on a Citus cluster compared with the same archive on its coordinator alone.

    python benchmarks/citus.py --dsn postgresql://me@coordinator/maps
    python benchmarks/citus.py --dsn ... --rows 100000 1000000 --workers 1 2 --shards 1 4

Codes are synthetic and clustered, footprints lie on a grid, and every scene has its own day.  The
same queries run on both archives alternately, and their rows are compared: the run fails if they
differ.  ``--workers`` sets how many of the cluster's workers hold shards, ``--shards`` how many
shards each of them holds.  On servers that share a machine this shows the cost of distribution, not
the gain from more machines.

Prints a Markdown table of median milliseconds as a client sees them.  The archives 'single' and
'distributed' are dropped at the end.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import psycopg
from pgvector import Bit
from synthetic_archive import SCENE_CHIPS, clustered_codes, day, load

from dcsh_pg.database.archives import registry
from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connect import connect, resolve

AREA = "ST_MakeEnvelope({0}, {0}, {1}, {1}, 4326)"
ONE, TEN = AREA.format(0.4, 0.5), AREA.format(0.3, 0.616)
SEARCHES = {
    "`similar`": "dcsh.similar({archive}, %(code)s, k => 10)",
    "`similar`, 1 % area": f"dcsh.similar({{archive}}, %(code)s, k => 10, area => {ONE})",
    "`similar`, 10 % area": f"dcsh.similar({{archive}}, %(code)s, k => 10, area => {TEN})",
    "`similar`, 10 % area, half the time, distance": (
        f"dcsh.similar({{archive}}, %(code)s, k => 10, area => {TEN}, "
        "since => %(since)s, until => %(until)s, max_distance => 12)"
    ),
    "`similar_to`": "dcsh.similar_to({archive}, %(id)s, k => 10)",
    "`within` 4 bits": "dcsh.within({archive}, %(code)s, 4)",
    "`within` 8 bits, 1 % area": f"dcsh.within({{archive}}, %(code)s, 8, area => {ONE})",
}
WHOLE = {
    "`code_statistics`": "dcsh.code_statistics({archive})",
    "`coverage`": "dcsh.coverage({archive})",
}
Row = dict[str, float]


def timed(
    conn: psycopg.Connection, name: str, archive: str, arguments: dict[str, Any]
) -> tuple[float, list]:
    call = (SEARCHES | WHOLE)[name].format(archive=f"'{archive}'")
    columns = "id, distance, geom" if name in SEARCHES else "*"
    began = time.perf_counter()
    rows = conn.execute(f"SELECT {columns} FROM {call} answer", arguments).fetchall()
    return 1000 * (time.perf_counter() - began), rows


def compare(conn: psycopg.Connection, codes: np.ndarray, queries: int) -> tuple[Row, Row]:
    """Median milliseconds of every query on both archives.

    Raises:
        SystemExit: an answer differs.
    """
    rng = np.random.default_rng(1)
    scenes = len(codes) // SCENE_CHIPS
    single, spread = {}, {}
    for name in (*SEARCHES, *WHOLE):
        took: dict[str, list[float]] = {"single": [], "distributed": []}
        for number in range((queries if name in SEARCHES else 3) + 1):
            chip = int(rng.integers(len(codes)))
            arguments = {
                "code": Bit(codes[chip].tobytes()), "id": chip + 1,
                "since": day(scenes // 4), "until": day(scenes // 4 + scenes // 2),
            }  # fmt: skip
            answers = {}
            for archive in took:
                milliseconds, answers[archive] = timed(conn, name, archive, arguments)
                if number:  # the first run warms up
                    took[archive].append(milliseconds)
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
    parser.add_argument("--queries", type=int, default=50)
    options = parser.parse_args()

    migrate.upgrade(resolve(options.dsn))
    conn = connect(options.dsn)
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
                    rate = rows / load(conn, "distributed", codes, shards=shards * workers)
                    if native:
                        registry.create_code_index(conn, "distributed")
                    single, spread = compare(conn, codes, options.queries)
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

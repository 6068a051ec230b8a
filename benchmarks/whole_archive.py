"""Questions that read a whole archive: statistics of its codes, coverage, an extent.

    python benchmarks/whole_archive.py                                # embedded server, a million chips
    python benchmarks/whole_archive.py --dsn ... --rows 100000

Prints a Markdown table of wall times.  Creates an archive 'whole_archive_benchmark' of clustered codes and
drops it at the end.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from synthetic_archive import clustered_codes, load

from dcsh_pg.database.archives import registry
from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connect import connect, is_embedded, resolve

NAME = "whole_archive_benchmark"
QUESTIONS = (
    f"code_statistics('{NAME}')",
    f"bit_statistics('{NAME}')",
    f"frequent_codes('{NAME}')",
    f"pair_distances('{NAME}')",
    f"coverage('{NAME}')",
    f"coverage('{NAME}', every => 'month')",
    f"extent('{NAME}')",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dsn", help="PostgreSQL to use (default: the embedded server)")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=64, help="a multiple of 8")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if not is_embedded(options.dsn):
        migrate.upgrade(resolve(options.dsn))
    conn = connect(options.dsn)
    if any(archive.name == NAME for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, NAME)
    codes = clustered_codes(np.random.default_rng(0), options.rows, options.bits)
    try:
        load(conn, NAME, codes, -(-options.rows // 100))
        print(f"{options.rows:,} chips, codes of {options.bits} bits.\n")
        print("| `dcsh.` | median ms | fastest |\n|---|---:|---:|")
        for question in QUESTIONS:
            seconds = []
            for _ in range(options.repeats):
                began = time.perf_counter()
                conn.execute(f"SELECT * FROM dcsh.{question}").fetchall()
                seconds.append(time.perf_counter() - began)
            label = question.replace(f"'{NAME}'", "...")
            print(f"| `{label}` | {1000 * np.median(seconds):.0f} | {1000 * min(seconds):.0f} |")
    finally:
        registry.drop_archive(conn, NAME)


if __name__ == "__main__":
    main()

"""Insertion rates of tables that differ in their index, measured alternately."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import psycopg

from dcsh_pg import codes as packed

SCHEMA = "dcsh_insert_benchmark"
BTREE = "btree on a bigint, ascending"
INDEXES = {
    "none": None,
    BTREE: "btree (id)",
    "btree on a bigint, random": "btree (number)",
    "hamming on the code": "hamming (code)",
}


@dataclass(frozen=True)
class Rate:
    """Rows per second inserted into a table that already has rows; median of the repeats."""

    index: str
    rows_per_second: float
    slowest: float
    fastest: float


def insert_rates(
    conn: psycopg.Connection, archive: str, fresh: np.ndarray, repeats: int
) -> list[Rate]:
    """Makes a table with the codes of an archive for each index, and inserts ``fresh``, packed uint8
    (M, K/8), in ``repeats`` statements of equal size, logged and flushed."""
    bits = 8 * fresh.shape[1]
    columns = f"id bigint, number bigint, code bit({bits})"
    conn.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    conn.execute(f"CREATE SCHEMA {SCHEMA}")
    try:
        conn.execute(f"CREATE TABLE {SCHEMA}.fresh ({columns}) WITH (autovacuum_enabled = off)")
        numbers = np.random.default_rng(0).integers(0, 2**62, len(fresh)).tolist()
        with conn.cursor().copy(f"COPY {SCHEMA}.fresh FROM STDIN") as copy:
            for n, code in enumerate(fresh):
                copy.write_row((n, numbers[n], packed.to_text(code)))
        conn.execute(f"CREATE INDEX ON {SCHEMA}.fresh (id)")
        conn.execute(f"VACUUM ANALYZE {SCHEMA}.fresh")
        tables = {index: f"{SCHEMA}.table_{n}" for n, index in enumerate(INDEXES)}
        for index, table in tables.items():
            conn.execute(f"CREATE TABLE {table} ({columns}) WITH (autovacuum_enabled = off)")
            conn.execute(
                f"INSERT INTO {table} SELECT id, hashint8extended(id, 0), code FROM dcsh.{archive}"
            )
            if how := INDEXES[index]:
                conn.execute(f"CREATE INDEX ON {table} USING {how}")
            conn.execute(f"VACUUM ANALYZE {table}")
        (stored,) = conn.execute(f"SELECT max(id) FROM dcsh.{archive}").fetchone()
        rates: dict[str, list[float]] = {index: [] for index in INDEXES}
        batch = len(fresh) // repeats
        for repeat in range(repeats):
            turn = repeat % len(tables)
            for index, table in [*tables.items()][turn:] + [*tables.items()][:turn]:
                began = time.perf_counter()
                conn.execute(
                    f"INSERT INTO {table} SELECT id + {stored + 1}, number, code "
                    f"FROM {SCHEMA}.fresh WHERE id >= {repeat * batch} "
                    f"AND id < {(repeat + 1) * batch} ORDER BY id"
                )
                rates[index].append(batch / (time.perf_counter() - began))
    finally:
        conn.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    return [Rate(index, float(np.median(r)), min(r), max(r)) for index, r in rates.items()]

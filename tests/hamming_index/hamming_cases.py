"""Codes of many kinds as tables, and their nearest neighbours by brute force."""

from __future__ import annotations

import numpy as np
import psycopg


def make_codes(kind: str, count: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Bits uint8 (count, bits) of 0 and 1."""
    if kind == "random":
        return rng.integers(0, 2, (count, bits), dtype=np.uint8)
    if kind == "equal":
        return np.repeat(rng.integers(0, 2, (1, bits), dtype=np.uint8), count, axis=0)
    centres = rng.integers(0, 2, (20 if kind == "clustered" else 5, bits), dtype=np.uint8)
    chosen = centres[rng.integers(0, len(centres), count)]
    flips = rng.random((count, bits)) < (0.1 if kind == "clustered" else 0)
    return chosen ^ flips.astype(np.uint8)


def text(code: np.ndarray) -> str:
    return (code + ord("0")).tobytes().decode()


def literal(code: np.ndarray) -> str:
    return f"B'{text(code)}'"


def fill(conn: psycopg.Connection, codes: np.ndarray, *, table: str = "t", first: int = 0) -> None:
    """Appends rows (id, code), numbered from ``first``; makes the table where there is none."""
    bits = codes.shape[1]
    conn.execute(f"CREATE TABLE IF NOT EXISTS {table} (id bigint, code bit({bits}))")
    lines = [f"{number}\t{text(code)}\n" for number, code in enumerate(codes, first)]
    with conn.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        copy.write("".join(lines))


def nearest(codes: np.ndarray, ids: np.ndarray, query: np.ndarray) -> list[int]:
    """All ids in order of (distance, id)."""
    distances = (codes != query).sum(axis=1)
    return ids[np.lexsort((ids, distances))].tolist()


def by_index(
    conn: psycopg.Connection, query: np.ndarray, *, table: str = "t", where: str = "true"
) -> list[int]:
    """All ids in order of (distance, id), nulls last, by the hamming index: the plan shows it.

    The index has to give the distances in order; those of equal distance are put in order here,
    because PostgreSQL 16 sorts everything where it has to do so.
    """
    distance = f"code <~> {literal(query)}"
    statement = f"SELECT {distance}, id FROM {table} WHERE {where} ORDER BY {distance}"
    with conn.transaction():
        _use_index(conn, True)
        plan = "\n".join(line for (line,) in conn.execute(f"EXPLAIN {statement}"))
        assert "Index Scan" in plan and "Order By: (code <~>" in plan, plan
        rows = conn.execute(statement).fetchall()
    distances = [np.inf if reported is None else reported for reported, _ in rows]
    assert distances == sorted(distances)
    return [number for _, number in sorted(zip(distances, (n for _, n in rows), strict=True))]


def _use_index(conn: psycopg.Connection, wanted: bool) -> None:
    """In one transaction either may follow the other, so each sets what the other has set."""
    for path, is_on in {"indexscan": wanted, "seqscan": not wanted, "bitmapscan": False}.items():
        conn.execute(f"SET LOCAL enable_{path} = {'on' if is_on else 'off'}")


def by_heap(
    conn: psycopg.Connection, query: np.ndarray, *, table: str = "t", where: str = "true"
) -> list[int]:
    """The same without indexes."""
    with conn.transaction():
        _use_index(conn, False)
        return [
            number
            for (number,) in conn.execute(
                f"SELECT id FROM {table} WHERE {where} ORDER BY code <~> {literal(query)}, id"
            )
        ]


def check(conn: psycopg.Connection, index: str = "t_code") -> None:
    conn.execute("SELECT hamming_check(%s::regclass)", [index])

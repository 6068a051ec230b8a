"""Damages files of the hamming index: every answer is right or an error, and the server survives.

Starts a temporary PostgreSQL 18 with data checksums.  A call creates some tables, stops the server,
damages the file of each one's index (lost, swapped or foreign pages, flipped bytes, a truncated file),
restarts the server and searches, changes and checks the tables.

With checksums the answers must be right or errors, whatever the damage.  The damage is also tried
with ``ignore_checksum_failure``: then lost pages, truncated files and flipped bytes in the index's own
fields must do no harm; other flips may give wrong answers, but must not crash the server, and
hamming_check must report them if answers differ.

    python benchmarks/attacks/index_damage.py --minutes 60
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import psycopg
from psycopg import errors
from support.attack import Attack, run
from support.index_server import OwnServer

PAGE = 8192
TABLES = 12
CORRUPTED = (
    errors.IndexCorrupted, errors.DataCorrupted, errors.IoError,
    errors.ObjectNotInPrerequisiteState, errors.UndefinedFile, errors.InternalError_,
)  # fmt: skip
"""Of these, the fourth is for a page format of another version, and the last two are PostgreSQL's own for a
damaged TID, which points beyond the end of the table."""
HEADER = (12, 18)
"""Bytes of pd_lower, pd_upper and pd_special."""


@cache
def server() -> OwnServer:
    return OwnServer()


def flip(file: bytearray, rng: random.Random, places: range) -> None:
    for _ in range(rng.choice([1, 1, 2, 20])):
        at = rng.choice(places)
        file[at] ^= rng.choice([1 << rng.randrange(8), rng.randrange(1, 256)])


def a_page(file: bytearray, rng: random.Random, *, first: int = 0) -> int:
    """Where a random page begins."""
    return PAGE * rng.randrange(first, len(file) // PAGE)


def lose_page(file: bytearray, rng: random.Random) -> None:
    at = a_page(file, rng)
    file[at : at + PAGE] = bytes(PAGE)


def lose_directory(file: bytearray, rng: random.Random) -> None:
    """One of the pages whose special space names them directories."""
    at = rng.choice([at for at in range(PAGE, len(file), PAGE) if file[at + PAGE - 6] == 2])
    file[at : at + PAGE] = bytes(PAGE)


def cut(file: bytearray, rng: random.Random) -> None:
    del file[-PAGE * rng.randrange(1, 3) :]


def flip_header(file: bytearray, rng: random.Random) -> None:
    at = a_page(file, rng, first=1)
    flip(file, rng, range(at + HEADER[0], at + HEADER[1]))


def flip_special(file: bytearray, rng: random.Random) -> None:
    at = a_page(file, rng, first=1) + PAGE
    flip(file, rng, rng.choice([range(at - 8, at - 4), range(at - 2, at)]))


def flip_metapage(file: bytearray, rng: random.Random) -> None:
    flip(file, rng, range(24, 36))


def flip_anything(file: bytearray, rng: random.Random) -> None:
    at = a_page(file, rng)
    flip(file, rng, range(at, at + PAGE))


def flip_anywhere(file: bytearray, rng: random.Random) -> None:
    flip(file, rng, range(len(file)))


def swap_pages(file: bytearray, rng: random.Random) -> None:
    a, b = a_page(file, rng), a_page(file, rng)
    file[a : a + PAGE], file[b : b + PAGE] = file[b : b + PAGE], file[a : a + PAGE]


def scribble(file: bytearray, rng: random.Random) -> None:
    at = a_page(file, rng)
    file[at : at + PAGE] = rng.randbytes(PAGE)


HARMLESS = (lose_page, lose_directory, cut, flip_header, flip_special, flip_metapage)
"""What no answer may suffer from, with or without checksums."""
OTHER = (flip_anything, flip_anywhere, swap_pages, scribble)


def make_table(conn: psycopg.Connection, rng: random.Random, name: str) -> int:
    bits = rng.choice([8, 16, 64, 65, 200, 1024, 1024, 1024])
    dice = np.random.default_rng(rng.getrandbits(32))
    rows = rng.choice([1, 100, 1500, 4000, 4000])
    conn.execute(f"CREATE TABLE {name} (id bigint, code bit({bits}))")
    codes = dice.integers(0, 2, (rows, bits), dtype=np.uint8) + ord("0")
    with conn.cursor().copy(f"COPY {name} FROM STDIN") as copy:
        copy.write("".join(f"{i}\t{code.tobytes().decode()}\n" for i, code in enumerate(codes)))
    if rng.random() < 0.5:
        conn.execute(f"UPDATE {name} SET code = NULL WHERE id % {rng.choice([2, 100])} = 0")
    conn.execute(f"CREATE INDEX {name}_code ON {name} USING hamming (code)")
    conn.execute(f"CREATE INDEX {name}_id ON {name} (id)")
    if rng.random() < 0.5:
        conn.execute(f"DELETE FROM {name} WHERE id % 3 = 0")
        conn.execute(f"VACUUM (INDEX_CLEANUP ON) {name}")
    return bits


def attempt(conn: psycopg.Connection, statement: str) -> list | None:
    """The rows, or None where the damage was noticed."""
    try:
        result = conn.execute(statement)
        return result.fetchall() if result.description else []
    except CORRUPTED:
        return None


def answers_differ(conn: psycopg.Connection, rng: random.Random, name: str, bits: int) -> bool:
    query = format(rng.getrandbits(bits), f"0{bits}b")
    row = conn.execute(
        f"SELECT code FROM {name} WHERE code IS NOT NULL OFFSET {rng.randrange(3000)} LIMIT 1"
    )
    if rng.random() < 0.7 and (found := row.fetchone()):
        (query,) = found
    operand = rng.choice([f"B'{query}'"] * 5 + [f"(SELECT NULL::bit({bits}))"])
    limit = rng.choice([1, 10, 100, 10**6])
    statement = f"SELECT code <~> {operand} AS d FROM {name} ORDER BY {{}} LIMIT {limit}"
    with conn.transaction():
        conn.execute("SET LOCAL enable_seqscan = off")
        found = attempt(conn, statement.format(f"code <~> {operand}"))
    return found is not None and found != attempt(conn, statement.format("d"))


def try_out(
    attack: Attack,
    rng: random.Random,
    name: str,
    bits: int,
    damage: Callable,
    conn: psycopg.Connection,
) -> None:
    ignored = rng.random() < 0.6
    conn.execute(f"SET ignore_checksum_failure = {ignored}")
    conn.execute("SET client_min_messages = error")
    wrong = sum(answers_differ(conn, rng, name, bits) for _ in range(6))
    attack.tried(f"{damage.__name__}{', no checksums' if ignored else ''}")
    check = f"SELECT hamming_check('{name}_code')"
    if wrong and (not ignored or damage in HARMLESS):
        attack.fault("damaged index", f"{damage.__name__}, bit({bits}): {wrong} wrong answers of 6")
    elif wrong and attempt(conn, check) is not None:
        attack.fault(
            "damaged index", f"{damage.__name__}, bit({bits}): hamming_check finds nothing"
        )
    for statement in (
        check,
        f"SELECT hamming_stats('{name}_code')",
        f"SELECT hamming_nearest('{name}_code', 0::bit({bits}), 5, NULL, 10000,"
        f" name 'id', '<(bigint,bigint)'::regoperator, bigint '3000')",
        f"INSERT INTO {name} SELECT g, ~(0::bit({bits})) FROM generate_series(9000, 9300) g",
        f"INSERT INTO {name} VALUES (10000, NULL)",
        f"DELETE FROM {name} WHERE id % 2 = 0",
        f"VACUUM (INDEX_CLEANUP ON) {name}",
    ):
        attempt(conn, statement)
    # Whatever could be inserted is there.
    if damage in HARMLESS and any(answers_differ(conn, rng, name, bits) for _ in range(4)):
        attack.fault("damaged index", f"{damage.__name__}, bit({bits}): wrong after changes")
    conn.execute(f"REINDEX INDEX {name}_code")
    conn.execute(check)


def once(attack: Attack, rng: random.Random) -> None:
    names = [f"t{number}" for number in range(TABLES)]
    with server().connect() as conn:
        conn.execute(f"DROP TABLE IF EXISTS {', '.join(names)}")
        bits = {name: make_table(conn, rng, name) for name in names}
        paths = {
            name: Path(server().server.cluster)
            / conn.execute("SELECT pg_relation_filepath(%s)", [f"{name}_code"]).fetchone()[0]
            for name in names
        }
    server().server.stop()
    damages = {name: rng.choice(rng.choice([HARMLESS, OTHER])) for name in names}
    for name, path in paths.items():
        file = bytearray(path.read_bytes())
        damages[name](file, rng)
        path.write_bytes(file)
    server().restart()
    for name in names:
        try:
            with server().connect() as conn:
                try_out(attack, rng, name, bits[name], damages[name], conn)
        except psycopg.OperationalError as error:
            attack.fault("damaged index", f"{damages[name].__name__}, bit({bits[name]}): {error}")


if __name__ == "__main__":
    run(__doc__, once)

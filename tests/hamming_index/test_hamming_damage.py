"""Damaged and lost pages: every answer is right or an error, and hamming_check finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import psycopg
import pytest
from hamming_cases import by_heap, by_index, check, fill, literal, make_codes

from dcsh_pg.database.server.embedded import EmbeddedServer

PAGE = 8192


def lose_an_entry(file: bytearray) -> None:
    """The last entry of the first data page: its TID, its place in the free space, the count."""
    page = memoryview(file)[2 * PAGE : 3 * PAGE]
    count = int.from_bytes(page[-8:-6], "little")
    page[-8:-6] = (count - 1).to_bytes(2, "little")
    upper = int.from_bytes(page[14:16], "little")
    page[14:16] = (upper + 6).to_bytes(2, "little")


def repeat_an_entry(file: bytearray) -> None:
    page = memoryview(file)[2 * PAGE : 3 * PAGE]
    page[-20:-14] = page[-14:-8]


def set_radii(file: bytearray, radius: int) -> None:
    """Of the nine balls of the first data page."""
    first = PAGE + int.from_bytes(file[PAGE + 12 : PAGE + 14], "little")
    file[first : first + 18] = radius.to_bytes(2, "little") * 9


def narrow_the_balls(file: bytearray) -> None:
    set_radii(file, 0)


def flip_a_bit(file: bytearray) -> None:
    """Of a code that its page's balls, made as wide as can be, still cover."""
    set_radii(file, 64)
    file[2 * PAGE + 64] ^= 1


def overwrite(file: bytearray) -> None:
    file[3 * PAGE - 16 : 3 * PAGE] = bytes(16)


def lose(block: int) -> Callable[[bytearray], None]:
    def lose_page(file: bytearray) -> None:
        start = block * PAGE if block >= 0 else len(file) + block * PAGE
        file[start : start + PAGE] = bytes(PAGE)

    return lose_page


def cut(file: bytearray) -> None:
    del file[-PAGE:]


def set_header(offset: int, value: int) -> Callable[[bytearray], None]:
    """A field of the header of the last data page, which has room for more entries."""

    def set_field(file: bytearray) -> None:
        at = len(file) - PAGE + offset
        file[at : at + 2] = value.to_bytes(2, "little")

    return set_field


DAMAGES: dict[str, tuple[Callable[[bytearray], None], str]] = {
    "lost_entry": (lose_an_entry, "has no entry"),
    "repeated_entry": (repeat_an_entry, "has more than one entry"),
    "narrow_balls": (narrow_the_balls, "lies in none of the balls"),
    "flipped_bit": (flip_a_bit, "have different codes"),
    "overwritten": (overwrite, "corrupted at block 2"),
    "lost_directory": (lose(1), "its directory page is zeroed"),
    "lost_page": (lose(2), "is zeroed"),
    "lost_nulls": (lose(-1), "is zeroed"),
    "cut_file": (cut, "has no entry"),
    "lower": (set_header(12, 64), "corrupted at block 5"),
    "upper": (set_header(14, 8184), "corrupted at block 5"),
    "special": (set_header(16, 8176), "corrupted at block 5"),
}


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    return make_codes("clustered", 2000, 64, np.random.default_rng(31))


@pytest.fixture(scope="module")
def damaged(programs, server_folder, codes) -> Iterator[str]:
    """A database with a table for each kind of damage, its index damaged on the stopped server."""
    server = EmbeddedServer(server_folder / f"damaged-{programs.parent.name}", programs)
    paths = {}
    with psycopg.connect(server.start(), autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET fsync = off")
        conn.execute("CREATE EXTENSION dcsh_hamming CASCADE")
        for name in DAMAGES:
            fill(conn, codes, table=name)
            if name == "lost_nulls":
                conn.execute("INSERT INTO lost_nulls SELECT 5000 + g FROM generate_series(1, 9) g")
            conn.execute(f"CREATE INDEX {name}_code ON {name} USING hamming (code)")
            check(conn, f"{name}_code")
            (path,) = conn.execute("SELECT pg_relation_filepath(%s)", [f"{name}_code"]).fetchone()
            paths[name] = server.cluster / path
    server.stop()
    for name, (damage, _) in DAMAGES.items():
        file = bytearray(paths[name].read_bytes())
        damage(file)
        paths[name].write_bytes(file)
    server.start()
    yield server.conninfo()
    server.stop()


@pytest.fixture
def conn(damaged) -> Iterator[psycopg.Connection]:
    with psycopg.connect(damaged, autocommit=True) as made:
        made.execute("SET ignore_checksum_failure = on")
        made.execute("SET client_min_messages = error")
        yield made


def test_searches_are_exact_with_a_lost_directory_page(conn, codes):
    for query in codes[:3]:
        assert by_index(conn, query, table="lost_directory") == by_heap(
            conn, query, table="lost_directory"
        )
    distance = f"code <~> {literal(codes[0])}"
    conn.execute("SET enable_seqscan = off")
    nearest = conn.execute(f"SELECT id FROM lost_directory ORDER BY {distance} LIMIT 1").fetchone()
    assert nearest == (0,)


@pytest.mark.parametrize("code", ["NULL", f"B'{'1' * 64}'"])
@pytest.mark.parametrize("name", ["lost_directory", "lower", "upper", "special"])
def test_inserts_into_a_damaged_index_fail(conn, name, code):
    with pytest.raises(psycopg.errors.IndexCorrupted) as raised:
        conn.execute(f"INSERT INTO {name} VALUES (9999, {code})")
    assert raised.value.diag.message_hint == "Please REINDEX it."
    with conn.transaction(force_rollback=True):
        conn.execute(f"DELETE FROM {name}")


@pytest.mark.parametrize(
    "name", ["lost_page", "lost_nulls", "cut_file", "overwritten", "lower", "upper", "special"]
)
@pytest.mark.parametrize("ordered", [True, False])
def test_a_lost_page_is_an_error(conn, codes, name, ordered):
    conn.execute("SET enable_seqscan = off")
    operand = literal(codes[0]) if ordered else "(SELECT NULL::bit(64))"
    with pytest.raises(psycopg.errors.IndexCorrupted):
        conn.execute(f"SELECT id FROM {name} ORDER BY code <~> {operand}")


def test_vacuum_refuses_a_lost_directory_page(conn):
    conn.execute("DELETE FROM lost_directory WHERE id = 7")
    with pytest.raises(psycopg.errors.IndexCorrupted):
        conn.execute("VACUUM lost_directory")


@pytest.mark.parametrize("name", DAMAGES)
def test_hamming_check_finds_damage_and_reindex_repairs_it(conn, name):
    with pytest.raises(psycopg.errors.IndexCorrupted) as raised:
        check(conn, f"{name}_code")
    diag = raised.value.diag
    assert DAMAGES[name][1] in f"{diag.message_primary} {diag.message_detail}"
    assert diag.message_hint == "Please REINDEX it."
    conn.execute(f"REINDEX INDEX {name}_code")
    check(conn, f"{name}_code")

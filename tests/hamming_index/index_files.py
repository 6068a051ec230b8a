"""Files of indexes: the one that each page format has in ``formats``, and ways to put one in place.

    python tests/hamming_index/index_files.py DSN

keeps the file of the current format, made in a database with the extension on a server of this
machine.  It is for who has raised HAMMING_FORMAT; the files of older formats stay.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

FOLDER = Path(__file__).with_name("formats")

MAGIC_OFFSET, FORMAT_OFFSET = 24, 28
"""Of the metapage, after PostgreSQL's own header."""

KEPT = """
    CREATE {kind} TABLE t (id bigint, code bit(72));
    INSERT INTO t SELECT n, ('x' || substr(md5((n % 40)::text), 1, 18))::bit(72)
    FROM generate_series(1, 600) n;
    INSERT INTO t VALUES (-1, NULL);
    CREATE INDEX t_code ON t USING hamming (code);
    INSERT INTO t SELECT n, ('x' || substr(md5((n % 50)::text), 1, 18))::bit(72)
    FROM generate_series(601, 800) n;
    DELETE FROM t WHERE id % 7 = 0;
"""
"""The table of the files that are kept; its rows lie at the same places in any version."""


def kept_file(page_format: int) -> Path:
    return FOLDER / f"format-{page_format}.gz"


def path_of(conn: psycopg.Connection, index: str) -> Path:
    """Where the file of an index is."""
    return Path(
        *conn.execute(
            "SELECT current_setting('data_directory'), pg_relation_filepath(%s::regclass)", [index]
        ).fetchone()
    )


@contextmanager
def with_changed_file(
    admin: str, dsn: str, index: str, change: Callable[[bytes], bytes]
) -> Iterator[str]:
    """A copy of a database whose index has the file that ``change`` makes of it; gives its DSN.

    No cache of the server knows the copy yet.  Nobody may be connected to the original.
    """
    original = conninfo_to_dict(dsn)["dbname"]
    copy = f"{original}_changed"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CHECKPOINT")
        file = path_of(conn, index)
        file.write_bytes(change(file.read_bytes()))
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {copy} TEMPLATE {original} STRATEGY file_copy")
        # Changed pages fail their checksum, as none of a real server does.
        conn.execute(f"ALTER DATABASE {copy} SET ignore_checksum_failure = on")
        try:
            yield make_conninfo(dsn, dbname=copy)
        finally:
            conn.execute(f"DROP DATABASE {copy} WITH (FORCE)")


def with_format(page_format: int) -> Callable[[bytes], bytes]:
    """For :func:`with_changed_file`: the index says that it is of that format."""

    def change(pages: bytes) -> bytes:
        said = page_format.to_bytes(4, sys.byteorder)
        return pages[:FORMAT_OFFSET] + said + pages[FORMAT_OFFSET + 4 :]

    return change


def without_metapage(pages: bytes) -> bytes:
    """For :func:`with_changed_file`: the first page is another program's."""
    return pages[:MAGIC_OFFSET] + bytes(8) + pages[FORMAT_OFFSET + 4 :]


def main() -> None:
    dsn = sys.argv[1]
    with psycopg.connect(dsn, autocommit=True) as conn:
        # Pages of unlogged tables have no place in the WAL of the server that wrote them.
        conn.execute(KEPT.format(kind="UNLOGGED"))
        ask = "SELECT supported FROM hamming_format('t_code')"
        kept = kept_file(conn.execute(ask).fetchone()[0])
        index = path_of(conn, "t_code")
    with psycopg.connect(dsn, dbname="postgres", autocommit=True) as conn:
        # This alone writes them to disk while the server runs.
        name = conninfo_to_dict(dsn)["dbname"]
        conn.execute(f"CREATE DATABASE {name}_written TEMPLATE {name} STRATEGY file_copy")
        conn.execute(f"DROP DATABASE {name}_written")
    kept.write_bytes(gzip.compress(index.read_bytes(), mtime=0))
    print(f"{kept}: {kept.stat().st_size} bytes")


if __name__ == "__main__":
    main()

"""Page formats: what an older or newer library wrote is refused by name, found and rebuilt."""

from __future__ import annotations

import gzip
import re
import sys

import numpy as np
import psycopg
import pytest
import searching as search
from hamming_cases import by_heap, by_index, check
from index_files import KEPT, kept_file, with_changed_file, with_format, without_metapage
from psycopg import errors
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server import schema
from dcsh_pg.database.server.connect import connect

QUERY = np.zeros(72, np.uint8)
WRITERS = ("INSERT INTO t VALUES (9999, repeat('01', 36)::bit(72))", "VACUUM (INDEX_CLEANUP ON) t")


@pytest.fixture
def kept(dsn_of_db) -> str:
    """DSN of a database with the table of the files that are kept."""
    with psycopg.connect(dsn_of_db, autocommit=True) as conn:
        conn.execute(KEPT.format(kind=""))
    return dsn_of_db


def formats(conn: psycopg.Connection) -> tuple[int | None, int]:
    return conn.execute("SELECT * FROM hamming_format('t_code')").fetchone()


def assert_usable(conn: psycopg.Connection) -> None:
    for writer in WRITERS:
        assert by_index(conn, QUERY) == by_heap(conn, QUERY)
        check(conn)
        conn.execute(writer)
    check(conn)


@pytest.mark.skipif(sys.byteorder != "little", reason="the files are little-endian")
def test_an_index_of_each_format_is_read_or_refused(hamming_admin, kept):
    with psycopg.connect(kept) as conn:
        supported = formats(conn)[1]
    assert kept_file(supported).exists(), "keep a file of the new format: see index_files.py"
    for page_format in range(1, supported + 1):
        stored = gzip.decompress(kept_file(page_format).read_bytes())
        with (
            with_changed_file(
                hamming_admin, kept, "t_code", lambda _, stored=stored: stored
            ) as dsn,
            psycopg.connect(dsn, autocommit=True) as conn,
        ):
            assert formats(conn) == (page_format, supported)
            if page_format != supported:
                with pytest.raises(errors.ObjectNotInPrerequisiteState) as error:
                    by_index(conn, QUERY)
                conn.execute(advice(error.value))
            assert_usable(conn)


@pytest.mark.parametrize("said", [0, 2, 4_294_967_295])
def test_another_page_format_is_refused_with_a_hint_to_reindex(hamming_admin, kept, said):
    with (
        with_changed_file(hamming_admin, kept, "t_code", with_format(said)) as dsn,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        assert formats(conn) == (said, 1)
        for statement in (*WRITERS, "SELECT hamming_stats('t_code')"):
            with pytest.raises(
                errors.ObjectNotInPrerequisiteState, match=f"format {said},"
            ) as error:
                conn.execute(statement)
        with pytest.raises(errors.ObjectNotInPrerequisiteState):
            by_index(conn, QUERY)
        assert ("newer dcsh_hamming" in error.value.diag.message_hint) == (said > 1)
        conn.execute("SET enable_indexscan = off")
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (687,)
        conn.execute(advice(error.value))
        assert formats(conn) == (1, 1)
        assert_usable(conn)


def advice(error: psycopg.Error) -> str:
    return re.search("REINDEX INDEX .*;", error.diag.message_hint).group()


def test_a_page_that_is_not_a_metapage_is_reported_as_damage(hamming_admin, kept):
    with (
        with_changed_file(hamming_admin, kept, "t_code", without_metapage) as dsn,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        assert formats(conn) == (None, 1)
        with pytest.raises(errors.IndexCorrupted, match="at block 0"):
            by_index(conn, QUERY)
        conn.execute("REINDEX INDEX t_code")
        assert_usable(conn)


@pytest.fixture
def places(hamming) -> str:
    """DSN of a database with an archive and its index."""
    with connect(hamming) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        add(loader, Scene("a.tif"), np.arange(24, dtype=np.uint8).reshape(3, 8))
        loader.flush()
        registry.create_code_index(conn, "places")
    return hamming


@pytest.mark.parametrize("change", [with_format(2), without_metapage], ids=["newer", "damaged"])
@pytest.mark.parametrize("how", ["db upgrade", "archive index"])
def test_a_stale_index_of_an_archive_is_found_and_rebuilt(embedded_admin, places, change, how):
    index = "dcsh.places_code_idx"
    with with_changed_file(embedded_admin, places, index, change) as dsn:
        shown = CliRunner().invoke(app, ["db", "status", "--dsn", dsn])
        assert shown.exit_code == 0, shown.output
        line = next(line for line in shown.output.splitlines() if line.startswith("stale"))
        assert index in line and "'dcsh-pg db upgrade'" in line
        command = how.split() + (["places"] if how == "archive index" else [])
        done = CliRunner().invoke(app, [*command, "--dsn", dsn])
        assert done.exit_code == 0, done.output
        assert "stale" not in CliRunner().invoke(app, ["db", "status", "--dsn", dsn]).output
        with connect(dsn) as conn:
            assert schema.status(conn).stale_indexes == []
            assert [hit.id for hit in search.similar_to(conn, "places", 1)] == [2, 3]
            check(conn, index)

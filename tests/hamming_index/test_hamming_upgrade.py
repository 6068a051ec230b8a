"""From PostgreSQL 16 to 18, by pg_upgrade and by dump and restore, and from older extensions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
import searching as search
from hamming_cases import by_heap, by_index, check, fill, make_codes
from synthetic import Scene, add, new_archive

from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server import migrate, schema
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.embedded import EmbeddedServer

QUERY = np.zeros(64, np.uint8)
INDEX = "dcsh.places_code_idx"


@pytest.fixture(scope="module")
def old(programs_of, server_folder, no_outer_database) -> Iterator[EmbeddedServer]:
    """PostgreSQL 16 with an archive, and a table whose index has seen insertions and a VACUUM."""
    server = EmbeddedServer(server_folder / "old16", programs_of(16))
    dsn = server.start()
    migrate.upgrade(dsn)
    with connect(dsn) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        rng = np.random.default_rng(33)
        add(loader, Scene("a.tif"), rng.integers(0, 256, (700, 8), dtype=np.uint8))
        loader.flush()
        registry.create_code_index(conn, "places")
    with psycopg.connect(dsn, autocommit=True) as conn:
        codes = make_codes("clustered", 1500, 64, rng)
        fill(conn, codes[:1000])
        conn.execute("CREATE INDEX t_code ON t USING hamming (code)")
        conn.execute("DELETE FROM t WHERE id % 3 = 0")
        conn.execute("VACUUM t")
        fill(conn, codes[1000:], first=1000)
        conn.execute("INSERT INTO t VALUES (-1, NULL)")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def upgraded(old, programs_of) -> Iterator[tuple[EmbeddedServer, tuple, Path]]:
    """PostgreSQL 18 after pg_upgrade, what the old one answered, and a dump of it."""
    new = EmbeddedServer(old.cluster.with_name("new18"), programs_of(18))
    expected = answers(old.conninfo())
    dump = old.cluster.with_name("dump")
    subprocess.run([new.programs / "pg_dump", "-Fc", "-f", dump, old.conninfo()], check=True)
    password = old.cluster.with_name("old16.key").read_text()
    old.stop()
    owner = old.cluster.stat()
    new.cluster.mkdir(mode=0o700)
    for suffix in ("", ".key", ".log"):
        file = new.cluster.with_name(f"new18{suffix}")
        if suffix:
            file.write_text(password)
        os.chown(file, owner.st_uid, owner.st_gid)
    key = new.cluster.with_name("new18.key")
    new._runner.run(
        "initdb", "-D", new.cluster, "-U", "dcsh", "-A", "scram-sha-256", f"--pwfile={key}",
        "--encoding=UTF8", "--locale=C", "--no-data-checksums", "--no-sync",
    )  # fmt: skip
    who = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    done = subprocess.run(
        [new.programs / "pg_upgrade", "-b", old.programs, "-B", new.programs, "-d", old.cluster,
         "-D", new.cluster, "-U", "dcsh", "-s", new.cluster, "--no-sync", "--copy"],
        cwd=new.cluster, env=os.environ | {"PGPASSWORD": password.strip()},
        capture_output=True, text=True, **(who if os.geteuid() == 0 else {}),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with open(new.cluster / "postgresql.conf", "a") as settings:
        settings.write("listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n")
    new.start()
    yield new, expected, dump
    new.stop()


def answers(dsn: str) -> tuple:
    """What is searched for before and after."""
    with connect(dsn) as conn:
        hits = [(hit.id, hit.distance) for hit in search.similar_to(conn, "places", 7, k=50)]
        return by_heap(conn, QUERY), hits


def assert_same(dsn: str, expected: tuple) -> None:
    migrate.upgrade(dsn)
    assert answers(dsn) == expected
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert conn.info.server_version // 10_000 == 18
        assert conn.execute(
            "SELECT extversion = default_version FROM pg_extension"
            " JOIN pg_available_extensions ON name = extname WHERE extname = 'dcsh_hamming'"
        ).fetchone() == (True,)
        assert schema.status(conn).stale_indexes == []
        for index in ("t_code", INDEX):
            check(conn, index)
        assert by_index(conn, QUERY) == expected[0]
        conn.execute("INSERT INTO t SELECT id + 5000, ~code FROM t")
        conn.execute("DELETE FROM t WHERE id % 5 = 0")
        conn.execute("VACUUM t")
        check(conn)
        assert by_index(conn, QUERY) == by_heap(conn, QUERY)


def test_pg_upgrade_keeps_the_indexes(upgraded):
    new, expected, _ = upgraded
    with psycopg.connect(new.conninfo()) as conn:
        # The files are those that PostgreSQL 16 wrote.
        check(conn)
        check(conn, INDEX)
        assert by_index(conn, QUERY) == expected[0]
    assert_same(new.conninfo(), expected)


def test_a_dump_is_restored(upgraded):
    new, expected, dump = upgraded
    with psycopg.connect(new.conninfo(), autocommit=True) as conn:
        conn.execute("CREATE DATABASE restored")
    dsn = new.conninfo(database="restored")
    subprocess.run([new.programs / "pg_restore", "--exit-on-error", "-d", dsn, dump], check=True)
    assert_same(dsn, expected)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_older_extension_works_with_this_library_and_is_updated(
    hamming_admin, dsn_of_db, version
):
    """As after pg_upgrade, or where files were installed and ALTER EXTENSION was not run."""
    with psycopg.connect(dsn_of_db, autocommit=True) as conn:
        conn.execute("DROP EXTENSION dcsh_hamming")
        conn.execute(f"CREATE EXTENSION dcsh_hamming VERSION '{version}'")
        codes = make_codes("clustered", 700, 64, np.random.default_rng(5))
        fill(conn, codes)
        conn.execute("CREATE INDEX t_code ON t USING hamming (code)")
        for _ in range(2):
            check(conn)
            assert by_index(conn, codes[1]) == by_heap(conn, codes[1])
            assert conn.execute("SELECT entries FROM hamming_stats('t_code')").fetchone() == (700,)
            conn.execute("ALTER EXTENSION dcsh_hamming UPDATE")
        assert conn.execute("SELECT * FROM hamming_format('t_code')").fetchone() == (1, 1)

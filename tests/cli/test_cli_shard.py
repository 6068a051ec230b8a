"""The commands archive shard and archive unshard."""

import json

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from shard_servers import PASSWORD
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg.cli import app, archive, db, ingest, search  # noqa: F401  (they register on app)
from dcsh_pg.database import connection, migrate
from dcsh_pg.database.load import Loader
from dcsh_pg.errors import NotFound, ServerError, UsageError


@pytest.fixture
def run():
    def invoke(*arguments):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert PASSWORD not in done.stdout + done.stderr
        return done

    return invoke


@pytest.fixture
def databases(three_servers, make_database):
    with (
        make_database(three_servers[0]) as own,
        make_database(three_servers[1]) as first,
        make_database(three_servers[2]) as second,
    ):
        migrate.upgrade(own)
        with connection.connect(own) as conn:
            loader = Loader(conn, new_archive(conn, "places"))
            for n in range(20):
                add(loader, Scene(f"{n}.tif"), np.full((3, 8), n, np.uint8))
            loader.flush()
        yield own, first, second


def test_an_archive_moves_to_two_servers_and_back(run, databases):
    own, first, second = databases
    assert "on one server" in run("archive", "shard", "places", "--dsn", own).stderr
    command = ("archive", "shard", "places", "--server", first, "--server", second, "--dsn", own)
    moved = run(*command)
    assert moved.exit_code == 0 and "60 chips of archive 'places' moved" in moved.stderr
    assert moved.stdout.startswith("shard 1: ") and len(moved.stdout.splitlines()) == 2
    again = run(*command)
    assert again.exit_code == 0 and "0 chips" in again.stderr and again.stdout == moved.stdout
    told = json.loads(run("archive", "shard", "places", "--json", "--dsn", own).stdout)
    assert [one["port"] for one in told] == [
        int(conninfo_to_dict(dsn)["port"]) for dsn in (first, second)
    ]
    assert sum(one["chips"] for one in told) == 60
    assert "search     places: 2 servers" in run("db", "status", "--dsn", own).stdout
    (hit,) = json.loads(
        run("search", "places", "--chip", 4, "-k", 1, "--format", "json", "--dsn", own).stdout
    )
    assert (hit["id"], hit["distance"]) == (5, 0)
    back = run("archive", "unshard", "places", "--dsn", own)
    assert back.exit_code == 0 and "60 chips of archive 'places' are back" in back.stderr
    with psycopg.connect(first) as conn:
        assert conn.execute("SELECT count(*) FROM dcsh.archive").fetchone() == (0,)


def test_scenes_are_ingested_into_shards_as_into_one_server(run, databases, model_file, scenes):
    own, first, second = databases
    files = sorted(str(file) for file in scenes.glob("*.tif"))
    made = ("--model", model_file, "--dsn", own)
    for name in ("one", "many"):
        assert run("ingest", name, files[0], *made).exit_code == 0
    servers = ("--server", first, "--server", second, "--by", "chip")
    assert run("archive", "shard", "many", *servers, "--dsn", own).exit_code == 0
    for name in ("one", "many"):
        assert run("ingest", name, *files, *made).exit_code == 0
    chips = "SELECT c.id, c.code, c.geom::text, s.uri FROM dcsh.{} c JOIN dcsh.scene s ON s.id = c.scene_id"
    with psycopg.connect(own) as conn:
        one, many = (
            conn.execute(f"{chips.format(name)} ORDER BY c.id").fetchall()
            for name in ("one", "many")
        )
    assert one == many and len({row[-1] for row in one}) == len(files) > 1
    one, many = (
        run("search", name, "--image", files[1], "--format", "csv", "--dsn", own).stdout
        for name in ("one", "many")
    )
    assert one.splitlines()[1].split(",")[:2] == many.splitlines()[1].split(",")[:2]
    assert len(one.splitlines()) == len(many.splitlines()) == 11


def test_the_index_of_shards_is_theirs(run, databases):
    own, first, second = databases
    run("archive", "shard", "places", "--server", first, "--server", second, "--dsn", own)
    with psycopg.connect(first) as conn:
        offered = conn.execute("SELECT dcsh._has_hamming()").fetchone()[0]
    made = run("archive", "index", "places", "--dsn", own)
    if offered:
        assert made.exit_code == 0 and "on every shard" in made.stderr
    else:
        assert made.exit_code == ServerError.exit_code and "native install" in made.stderr
    dropped = run("archive", "index", "places", "--drop", "--dsn", own)
    assert dropped.exit_code == 0
    assert ("is dropped" if offered else "had no index") in dropped.stderr


def test_what_goes_wrong_is_one_line_and_a_hint(run, databases, database):
    own, first, second = databases
    wrong = make_conninfo(second, password="wrong")
    for archive_name, servers, dsn, code, line in (
        ("none", [first], own, NotFound.exit_code, "no archive 'none'"),
        ("places", [first, wrong], own, ServerError.exit_code, "password authentication failed"),
        ("places", [first, first], own, UsageError.exit_code, "servers of different names"),
        ("places", ["what=ever"], own, UsageError.exit_code, "--server is neither"),
    ):
        given = [part for server in servers for part in ("--server", server)]
        done = run("archive", "shard", archive_name, *given, "--dsn", dsn)
        assert done.exit_code == code and line in done.stderr and "hint: " in done.stderr
        assert "Traceback" not in done.stderr


def test_the_embedded_server_tells_that_it_cannot_reach_others(run, databases, database):
    with connection.connect(database) as conn:
        new_archive(conn, "places")
    done = run("archive", "shard", "places", "--server", databases[1], "--dsn", database)
    assert done.exit_code in (ServerError.exit_code, 4)
    assert "postgres_fdw" in done.stderr and "contrib" in done.stderr

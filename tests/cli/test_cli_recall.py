"""The command recall, against brute force."""

import json

import numpy as np
import pytest
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg import codes as packed
from dcsh_pg.cli.main import app
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import InputError, NotFound, ServerError, UsageError
from dcsh_pg.evaluation.recall import measure_recall


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def places(database, codes):
    with connect(database) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        add(loader, Scene("a.tif"), codes)
        loader.flush()
        new_archive(conn, "empty")
    return database


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(0).integers(0, 256, (3000, 8), dtype=np.uint8)


def measured(run, dsn, *arguments):
    done = run("recall", "places", "--json", "-q", "--dsn", dsn, *arguments)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def contents(dsn):
    with connect(dsn) as conn:
        return conn.execute("SELECT oid, relname, relkind FROM pg_class ORDER BY 1").fetchall()


def test_it_finds_more_with_more_effort_and_leaves_the_archive_as_it_was(run, places):
    before = contents(places)
    reported = measured(run, places, "--index", "ivfflat", "--queries", 40)
    assert contents(places) == before
    assert (reported["rows"], reported["k"], reported["queries"]) == (3000, 10, 40)
    assert reported["option"] == "ivfflat.probes"
    assert [point["setting"] for point in reported["points"]] == [1, 2, 3]
    recalls = [point["recall"] for point in reported["points"]]
    assert recalls == sorted(recalls) and recalls[0] < 1 and recalls[-1] == 1
    assert (
        reported["scan"]["recall"] == 1
        and reported["index_bytes"] > 0
        and reported["build_seconds"] > 0
    )
    assert all(0 < point["median_ms"] <= point["p95_ms"] for point in reported["points"])


def test_recall_is_that_of_the_index_itself(run, places, codes):
    reported = measured(
        run, places, "--index", "hnsw", "--sweep", "10,1000", "--queries", 30, "--seed", 1
    )
    asked = codes[np.random.default_rng(1).choice(len(codes), 30, replace=False)]
    with connect(places) as conn:
        conn.execute("CREATE INDEX ON dcsh.places USING hnsw (code bit_hamming_ops)")
        conn.execute("SET enable_seqscan = off")
        conn.execute("SET hnsw.ef_search = 1000")
        found = []
        for query in asked:
            farthest = np.sort(packed.hamming(codes, query)[:, 0])[9]
            rows = conn.execute(
                "SELECT code <~> %(q)s::varbit::bit(64) FROM dcsh.places "
                "ORDER BY code <~> %(q)s::varbit::bit(64) LIMIT 10",
                {"q": packed.to_text(query)},
            )
            found.append(np.mean([distance <= farthest for (distance,) in rows]))
    assert reported["points"][1]["recall"] == pytest.approx(np.mean(found), abs=0.05)
    assert reported["points"][0]["recall"] <= reported["points"][1]["recall"]


def test_ties_are_no_loss(run, database):
    with connect(database) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        add(loader, Scene("a.tif"), np.zeros((500, 8), np.uint8))
        loader.flush()
    reported = measured(run, database, "--index", "hnsw", "--queries", 5)
    assert {point["recall"] for point in reported["points"]} == {1}


def test_the_native_index_finds_all(run, hamming, places):
    reported = measured(run, places, "--index", "hamming", "--queries", 20, "--k", 25)
    (point,) = reported["points"]
    assert (point["setting"], point["recall"], reported["option"]) == (None, 1, None)
    printed = run("recall", "places", "--index", "hamming", "--queries", 5, "--dsn", places)
    assert "recall@10" in printed.stdout and "no index" in printed.stdout
    assert "3,000 codes of 64 bits" in printed.stderr


def test_what_cannot_be_measured(run, places):
    def refused(*arguments):
        done = run("recall", *arguments, "-q", "--dsn", places)
        return done.exit_code, done.stderr

    for arguments, code, words in [
        (("nowhere", "--index", "hnsw"), NotFound.exit_code, "no archive"),
        (("empty", "--index", "hnsw"), InputError.exit_code, "is empty"),
        (("places", "--index", "hnsw", "--k", 0), UsageError.exit_code, "--k 0"),
        (("places", "--index", "hnsw", "--sweep", "0"), UsageError.exit_code, "1 to 1000"),
        (("places", "--index", "ivfflat", "--sweep", "4"), UsageError.exit_code, "1 to 3"),
        (("places", "--index", "btree"), UsageError.exit_code, "btree"),
    ]:
        assert refused(*arguments)[0] == code, arguments
        assert words in refused(*arguments)[1]
    with connect(places) as conn:
        conn.execute("DROP EXTENSION IF EXISTS dcsh_hamming")
    code, reported = refused("places", "--index", "hamming")
    assert code == ServerError.exit_code and "dcsh-pg native install" in reported


def test_the_build_gets_the_memory_it_needs(places):
    """The lists are trained in more than a megabyte."""
    with connect(places) as conn:
        conn.execute(
            "INSERT INTO dcsh.places SELECT id + 3000 * n, scene_id, col_off, row_off, width, height,"
            " geom, acquired, valid_fraction, code FROM dcsh.places, generate_series(1, 40) n"
        )
        conn.execute("SET maintenance_work_mem = '1MB'")
        report = measure_recall(conn, "places", "ivfflat", queries=3, settings=[1])
        assert report.rows == 123_000
        assert conn.execute("SHOW maintenance_work_mem").fetchone() == ("1MB",)

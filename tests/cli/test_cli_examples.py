"""``dcsh-pg search`` by several chips and by a region: the rows of Python and of SQL."""

from __future__ import annotations

import json

import numpy as np
import psycopg
import pytest
import shapely
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg import Archive, RegionQuery
from dcsh_pg.cli.main import app
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.archives.spatial import area_text, layer_of
from dcsh_pg.database.server.connect import connect


@pytest.fixture
def places(any_deployment):
    """An archive of 6 x 6 chips of one degree, chip 1 at 0, 0, chip 7 at 0, 1."""
    cells = np.arange(36)
    footprints = shapely.box(cells % 6, cells // 6, cells % 6 + 1, cells // 6 + 1)
    codes = np.random.default_rng(0).integers(0, 256, (36, 8), dtype=np.uint8)
    with connect(any_deployment) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        add(loader, Scene("gone.tif"), codes, footprints)
        loader.flush()
    return any_deployment


@pytest.fixture
def run(places):
    def run(*arguments):
        return CliRunner().invoke(app, ["search", "places", *map(str, arguments), "--dsn", places])

    return run


def rows(result):
    assert result.exit_code == 0, result.output
    return [(hit["id"], hit["distance"]) for hit in json.loads(result.stdout)]


def in_sql(dsn, call):
    with psycopg.connect(dsn) as conn:
        return conn.execute(f"SELECT id, distance FROM dcsh.{call}").fetchall()


@pytest.mark.parametrize("rule", ["min", "mean"])
def test_likes_and_unlikes_are_those_of_sql(run, places, rule):
    reported = rows(
        run("--like", "3,4", "--like", 9, "--unlike", 20, "--rule", rule, "-k", 5, "-f", "json")
    )
    assert reported == in_sql(
        places, f"similar_to_examples('places', '{{3,4,9}}', '{{20}}', k => 5, rule => '{rule}')"
    )
    archive = Archive.open("places", dsn=places)
    python = archive.search(archive.query_examples([3, 4, 9], [20], rule=rule), k=5)
    assert reported == [(hit.id, hit.distance) for hit in python]
    archive.connection.close()


def test_a_region_is_that_of_sql(run, places):
    reported = rows(run("--region", "1,1,3,2", "--rule", "mean", "-k", 7, "-f", "json"))
    archive = Archive.open("places", dsn=places)
    box = area_text(shapely.box(1, 1, 3, 2), layer_of(archive.connection))
    assert reported == in_sql(places, f"similar_region('places', '{box}', k => 7, rule => 'mean')")
    python = archive.search(RegionQuery(shapely.box(1, 1, 3, 2), "mean"), k=7)
    assert reported == [(hit.id, hit.distance) for hit in python]
    archive.connection.close()


def test_what_was_asked_is_marked_in_files(run, tmp_path):
    pytest.importorskip("matplotlib", reason="maps need the extra 'plot'")
    file = tmp_path / "hits.map.png"
    assert run("--region", "1,1,3,2", "-o", file).exit_code == 0
    assert file.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "code", "reported"),
    [
        (["--unlike", "3"], 2, "--unlike without --like"),
        (["--chip", "1", "--unlike", "3"], 2, "--unlike without --like"),
        (["--chip", "1", "--rule", "mean"], 2, "--rule without --like or --region"),
        (["--like", "3", "--chip", "1"], 2, "--chip and --like cannot be combined"),
        (["--like", ""], 2, "--like: not integers"),
        (["--like", "3,x"], 2, "--like: not integers"),
        (["--like", "3", "--unlike", "3"], 2, "chip 3 is both liked and unliked"),
        (["--like", "99999999999999999999"], 2, "a number is too large"),
        (["--chip", "1", "-k", "99999999999"], 2, "a number is too large"),
        (["--like", "3,99"], 10, 'archive "places" has no chip 99'),
        (["--region", "1,1"], 2, "--region '1,1' cannot be read"),
        (["--region", "50,50,51,51"], 10, 'no chip of archive "places" covers the region'),
    ],
)
def test_mistakes_are_one_line_and_a_hint(run, arguments, code, reported):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    first, second = result.stderr.splitlines()
    assert reported in first and second.startswith("  hint: ")

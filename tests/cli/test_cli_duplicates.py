"""The commands duplicates, archive statistics and archive coverage: rows of SQL and of Python."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timezone

import numpy as np
import psycopg
import pytest
import shapely
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search import statistics
from dcsh_pg.database.search.near_duplicates import near_duplicates
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound, UsageError

CODES = np.array([[0] * 8, [255] * 8, [0] * 7 + [3], [0] * 8, [0] * 7 + [15]], np.uint8)


@pytest.fixture
def places(any_deployment):
    """Five chips side by side; four are connected by steps of two bits."""
    with connect(any_deployment) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        new_archive(conn, "empty")
        x = np.arange(5)
        scene = Scene("a.tif", acquired=datetime(2021, 5, 31, 23, tzinfo=timezone.utc))
        add(loader, scene, CODES, shapely.box(x, 0, x + 1, 1))
        loader.flush()
    return any_deployment


@pytest.fixture
def run(places):
    def run(*arguments):
        return CliRunner().invoke(app, [*map(str, arguments), "--dsn", places])

    return run


def test_duplicates_are_the_rows_of_sql_and_of_python(run, places, tmp_path):
    expected = [(1, 1, 0), (1, 3, 2), (1, 4, 0), (1, 5, 4)]
    file = tmp_path / "groups.geojson"
    reported = run("duplicates", "places", "--radius", 2, "-f", "json", "-o", file)
    assert reported.exit_code == 0 and reported.stderr == "4 chips in 1 group\n"
    rows = json.loads(reported.stdout)
    assert [(row["group_id"], row["id"], row["distance"]) for row in rows] == expected
    with psycopg.connect(places) as conn:
        assert (
            expected
            == conn.execute(
                "SELECT group_id, id, distance FROM dcsh.near_duplicates('places', 2)"
            ).fetchall()
        )
    found = near_duplicates(connect(places), "places", 2)
    assert [(chip.group_id, chip.chip.id, chip.chip.distance) for chip in found] == expected
    features = json.loads(file.read_text())["features"]
    assert [feature["bbox"] for feature in features] == [[i - 1, 0, i, 1] for i in (1, 3, 4, 5)]
    table = run("duplicates", "places", "-r", 0).stdout
    assert "group_id" in table and table.count("a.tif") == 2


def test_duplicates_in_an_area_and_a_time(run):
    def ids(*options):
        reported = run("duplicates", "places", *options, "-f", "csv")
        return [int(row["id"]) for row in csv.DictReader(io.StringIO(reported.stdout))]

    assert ids("--area", "-1,0,2.5,1") == [1, 3]
    assert ids("--since", "2021-05", "--until", "2021-06") == [1, 3, 4, 5]
    assert ids("--until", "2021-05-31") == []


def test_statistics(run, places):
    reported = json.loads(run("archive", "statistics", "places", "--json", "--most", 1).stdout)
    assert (reported["chips"], reported["distinct_codes"], reported["most_frequent"]) == (5, 4, 2)
    (code,) = reported["frequent_codes"]
    assert (code["code"], code["chips"], code["first_id"]) == ("0" * 16, 2, 1)
    ones = [bit["ones"] for bit in reported["bit_statistics"]]
    assert ones == np.unpackbits(CODES, axis=1).sum(axis=0).tolist()
    conn = connect(places)
    assert statistics.code_statistics(conn, "places").code_entropy == reported["code_entropy"]
    assert [bit.ones for bit in statistics.bit_statistics(conn, "places")] == ones
    assert statistics.frequent_codes(conn, "places", 1)[0].code == bytes(8)
    page = run("archive", "statistics", "places").stdout
    assert "distinct codes  4" in page and "0" * 16 in page and "40.0000%" in page
    assert "code entropy    -" in run("archive", "statistics", "empty").stdout


def test_coverage(run, places, tmp_path):
    file = tmp_path / "cells.geojson"
    options = ("--cell", 2, "--every", "month")
    reported = run("archive", "coverage", "places", *options, "-f", "json", "-o", file)
    assert reported.exit_code == 0 and reported.stderr == "5 chips in 3 cells\n"
    rows = json.loads(reported.stdout)
    assert [row["chips"] for row in rows] == [2, 2, 1]
    assert {row["period"] for row in rows} == {"2021-05-01T00:00:00Z"}
    cells = statistics.coverage(connect(places), "places", cell=2, every="month")
    assert [cell.chips for cell in cells] == [2, 2, 1]
    features = json.loads(file.read_text())["features"]
    assert [feature["bbox"] for feature in features] == [[x, 0, x + 2, 2] for x in (0, 2, 4)]
    table = run("archive", "coverage", "places", *options, "--area", "0,0,1.5,1").stdout
    assert " 2021-05-01 " in table and "1.0000°E" in table


def test_what_cannot_be_asked(run):
    for arguments, code, words in [
        (("duplicates", "nowhere"), NotFound.exit_code, "no archive 'nowhere'"),
        (("duplicates", "places", "-r", 64), UsageError.exit_code, "radius must be from 0 to 63"),
        (("duplicates", "places", "-o", "a.doc"), UsageError.exit_code, "a.doc"),
        (
            ("duplicates", "places", "--since", "2022", "--until", "2021"),
            UsageError.exit_code,
            "--since 2022 is not before --until 2021",
        ),
        (
            ("archive", "coverage", "places", "--cell", 0),
            UsageError.exit_code,
            "cell must be above",
        ),
        (("archive", "statistics", "nowhere"), NotFound.exit_code, "no archive 'nowhere'"),
    ]:
        reported = run(*arguments)
        assert (reported.exit_code, words in reported.stderr) == (code, True), reported.stderr

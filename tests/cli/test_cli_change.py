"""``dcsh-pg change``: the rows of Python and of SQL, in every output."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timezone

import numpy as np
import psycopg
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg import Archive
from dcsh_pg.cli.main import app
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search.change import find_changes
from dcsh_pg.database.server.connect import connect


@pytest.fixture
def places(any_deployment):
    """Three places in 2019, and again in May 2021."""
    x = np.arange(3)
    footprints = shapely.box(x, 0, x + 1, 1)
    codes = np.random.default_rng(0).integers(0, 256, (3, 8), dtype=np.uint8)
    with connect(any_deployment) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        for year, month, changed in ((2019, 12, 0), (2021, 5, np.array([[1], [0], [7]], np.uint8))):
            acquired = datetime(year, month, 31, 23, tzinfo=timezone.utc)
            add(loader, Scene(f"{year}.tif", acquired=acquired), codes ^ changed, footprints)
        loader.flush()
    return any_deployment


@pytest.fixture
def run(places):
    def run(*arguments):
        return CliRunner().invoke(app, ["change", "places", *map(str, arguments), "--dsn", places])

    return run


def test_scenes_of_other_extents_are_cut_alike_with_an_anchor(
    database, model_file, monkeypatch, tmp_path
):
    """The same ground twice, from other corners: every place of both is there and unchanged."""
    monkeypatch.setenv("DATABASE_URL", database)
    ground = np.random.default_rng(0).integers(1, 255, (3, 300, 300), dtype=np.uint8)
    for year, (left, top) in ((2019, (0, 0)), (2021, (23, 41))):
        with rasterio.open(
            tmp_path / f"ground_{year}0601.tif", "w", driver="GTiff", count=3, height=300 - top,
            width=300 - left, dtype="uint8", crs="EPSG:32632",
            transform=from_origin(500_003 + left, 5_300_011 - top, 1, 1),
        ) as target:  # fmt: skip
            target.write(ground[:, top:, left:])

    def run(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    run("ingest", "fixed", tmp_path, "-m", model_file, "--chip-size", 64, "--anchor", "-q")
    rows = json.loads(run("change", "fixed", "--from", 2019, "--to", 2021, "-f", "json"))
    assert len(rows) >= 9
    assert {(row["distance"], row["overlap"]) for row in rows} == {(0, 1.0)}
    run("ingest", "fixed", tmp_path, "--anchor", "-q")
    result = CliRunner().invoke(app, ["ingest", "fixed", str(tmp_path), "--edge", "pad", "-q"])
    assert "was made with --edge drop, not pad" in result.stderr


EXPECTED = [(3 * 8, 6, 3), (8, 4, 1), (0, 5, 2)]


@pytest.mark.parametrize(
    "periods",
    [
        ("2019", "2021"),
        ("2019-12", "2021-05"),
        ("2019-12-31", "2021-05-31"),
        ("../2020", "2021/.."),
    ],
)
def test_all_ways_give_the_same_rows(run, places, periods):
    reported = run("--from", periods[0], "--to", periods[1], "-f", "json")
    assert reported.exit_code == 0, reported.output
    rows = json.loads(reported.stdout)
    assert [(row["distance"], row["id"], row["before_id"]) for row in rows] == EXPECTED
    with psycopg.connect(places) as conn:
        query = """
            SELECT distance, id, before_id
            FROM dcsh.change('places', '[2019-01-01,2020-01-01)', '[2021-01-01,2022-01-01)')
        """
        assert conn.execute(query).fetchall() == EXPECTED
    archive = Archive.open("places", dsn=places)
    years = [datetime(year, 1, 1, tzinfo=timezone.utc) for year in (2019, 2020, 2021)]
    changes = find_changes(archive.connection, archive.name, (years[0], years[1]), (years[2], None))
    assert [(row.distance, row.id, row.before_id) for row in changes] == EXPECTED
    archive.connection.close()


def test_every_output_reports_both_chips(run, tmp_path):
    pytest.importorskip("geopandas", reason="GeoParquet needs the extra 'geo'")
    periods = ("--from", "2019", "--to", "2021")
    files = [tmp_path / f"change.{end}" for end in ("geojson", "csv", "parquet")]
    table = run(*periods, *(option for file in files for option in ("-o", file)))
    assert table.exit_code == 0, table.output
    assert "before_id" in table.stdout and table.stdout.count("2021.tif") == 3
    features = json.loads(files[0].read_text())["features"]
    reported = [feature["properties"] for feature in features]
    assert [(row["distance"], row["id"], row["before_id"]) for row in reported] == EXPECTED
    assert reported[0]["before_uri"] == "2019.tif" and reported[0]["overlap"] == 1.0
    assert features[0]["geometry"]["type"] == "Polygon"
    assert [int(row["before_id"]) for row in csv.DictReader(io.StringIO(files[1].read_text()))] == [
        3,
        1,
        2,
    ]
    import geopandas

    assert list(geopandas.read_parquet(files[2])["before_id"]) == [3, 1, 2]


def test_only_some(run):
    periods = ("--from", "2019", "--to", "2021", "-f", "csv")
    assert len(run(*periods, "-k", 1).stdout.splitlines()) == 2
    inside = run(*periods, "--area", "0.2,0.2,0.8,0.8")
    assert [int(row["id"]) for row in csv.DictReader(io.StringIO(inside.stdout))] == [4]
    nothing = run("--from", "2018", "--to", "2021", "-f", "csv")
    assert nothing.exit_code == 0 and len(nothing.stdout.splitlines()) == 1
    assert "no place has chips in both periods" in nothing.stderr


@pytest.mark.parametrize(
    ("periods", "reported"),
    [
        (("2019-13", "2021"), "--from: not a time: '2019-13'"),
        (("2019", "lately"), "--to: not a period: 'lately'"),
        (("2020/2019", "2021"), "--from: period 2020/2019 ends before it begins"),
        (("2021", "2019"), "must be before period"),
        (("9999", "2021"), "--from: period 9999 has no end"),
    ],
)
def test_mistakes_are_one_line_and_a_hint(run, periods, reported):
    result = run("--from", periods[0], "--to", periods[1])
    assert (result.exit_code, result.stdout) == (2, "")
    first, second = result.stderr.splitlines()
    assert reported in first and second.startswith("  hint: ")

"""QGIS projects: opened by QGIS itself, and their rows held to the search."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import shapely
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg import Archive, CodeQuery, ExamplesQuery, Filter, RegionQuery
from dcsh_pg.catalog.qgis_project import by_distance, postgres_source
from dcsh_pg.cli.main import app
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search.chips import code_of
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound, UsageError


def made(dsn: str) -> Archive:
    conn = connect(dsn)
    loader = Loader(conn, new_archive(conn, "places"))
    codes = np.random.default_rng(0).integers(0, 256, (60, 8), dtype=np.uint8)
    boxes = [shapely.box(10 + n % 10, 40 + n // 10, 11 + n % 10, 41 + n // 10) for n in range(60)]
    add(loader, Scene('one\'s "scene".tif'), codes, boxes)
    loader.flush()
    return Archive(conn, registry.get_archive(conn, "places"))


@pytest.fixture
def places(database):
    archive = made(database)
    yield archive
    archive.connection.close()


@pytest.fixture
def postgis_places(postgis_database):
    archive = made(postgis_database)
    yield archive
    archive.connection.close()


def the_same(seen, hits):
    rows = sorted((row["distance"], row["id"]) for row in seen["rows"])
    return rows == [(hit.distance, hit.id) for hit in hits]


@pytest.mark.parametrize("name", ["map.qgz", "map.qgs"])
def test_qgis_shows_the_hits_of_the_database(postgis_places, look_in_qgis, tmp_path, name):
    area = shapely.box(10, 40, 15.5, 45.5)
    query = postgis_places.query_chip(7)
    files = postgis_places.to_qgis(tmp_path / name, query, k=20, filter=Filter(area=area))
    assert files == [tmp_path / name]
    seen = look_in_qgis(files[0])
    assert list(seen) == ["chip 7", "nearest to chip 7", "chips of places"]
    assert all(layer["valid"] for layer in seen.values())
    assert [layer["count"] for layer in seen.values()] == [1, 20, 60]
    hits = seen["nearest to chip 7"]
    assert the_same(hits, postgis_places.similar_to(7, k=20, filter=Filter(area=area)))
    assert hits["renderer"] == "graduatedSymbol" and hits["attribute"] == "distance"
    assert hits["drawn"] == 20 and hits["key"] == ["id"] and hits["crs"] == "EPSG:4326"
    assert seen["chip 7"]["rows"][0]["id"] == 7


def test_a_code_as_query_has_no_chip_to_show(postgis_places, look_in_qgis, tmp_path):
    near = Filter(max_distance=30)
    code = code_of(postgis_places.connection, "places", 3)
    query = CodeQuery(code, caption="a pond's picture")
    [project] = postgis_places.to_qgis(tmp_path / "map.qgz", query, k=5, filter=near)
    seen = look_in_qgis(project)
    assert list(seen) == ["nearest to a pond's picture", "chips of places"]
    assert the_same(seen["nearest to a pond's picture"], postgis_places.search(query, k=5, filter=near))  # fmt: skip


def test_without_postgis_it_shows_a_geopackage(places, look_in_qgis, tmp_path):
    pytest.importorskip("geopandas")
    project, package = places.to_qgis(tmp_path / "map.qgz", k=12)
    assert package == tmp_path / "map.gpkg"
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for file in (project, package):
        shutil.move(file, moved / file.name)
    seen = look_in_qgis(moved / project.name)
    assert [layer["count"] for layer in seen.values()] == [1, 12, 60]
    assert the_same(seen["nearest to chip 1"], places.similar_to(1, k=12))
    assert seen["nearest to chip 1"]["drawn"] == 12


def test_the_password_is_reported_only_when_asked_for():
    conninfo = r"host=db dbname=maps user=ann password='it\'s secret' sslmode=require"
    assert "secret" not in postgres_source(conninfo, '"dcsh"."x_layer"')
    source = postgres_source(conninfo, '(SELECT "a" FROM t)', password=True)
    assert "sslmode='require'" in source and "secret" in source
    assert r'table="(SELECT \"a\" FROM t)" (geom)' in source


@pytest.mark.parametrize("distances", [[], [4], [3, 4], [0, 64], list(range(9))])
def test_every_distance_has_one_class(distances):
    ranges = [
        (float(range.get("lower")), float(range.get("upper")))
        for range in by_distance(distances).iter("range")
    ]
    assert 1 <= len(ranges) <= 6
    for distance in distances:
        assert sum(lower < distance < upper for lower, upper in ranges) == 1


def test_an_archive_without_footprints_has_no_map(database, tmp_path):
    with connect(database) as conn:
        loader = Loader(conn, new_archive(conn, "pictures"))
        add(loader, Scene("a.png"), np.zeros((2, 8), np.uint8))
        loader.flush()
        pictures = Archive(conn, registry.get_archive(conn, "pictures"))
        with pytest.raises(NotFound, match="'pictures' has no footprints"):
            pictures.to_qgis(tmp_path / "map.qgz")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_refused(places, tmp_path):
    with pytest.raises(UsageError, match=r"must end in \.qgz or \.qgs"):
        places.to_qgis(tmp_path / "map.png")
    registry.remove_scene(places.connection, "places", 'one\'s "scene".tif')
    with pytest.raises(NotFound, match="has no chips"):
        places.to_qgis(tmp_path / "map.qgz")


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        (ExamplesQuery([3, 9], [20], "mean", caption="some chips"), [3, 9]),
        (RegionQuery(shapely.box(12.2, 41.2, 13.8, 41.8), caption="a region"), None),
    ],
    ids=["examples", "region"],
)
@pytest.mark.parametrize("kind", ["postgis_places", "places"])
def test_several_chips_and_a_region_under_every_filter(
    request, kind, query, chosen, look_in_qgis, tmp_path
):
    archive = request.getfixturevalue(kind)
    near = Filter(area=shapely.box(10, 40, 18, 45), max_distance=30)
    expected = archive.search(query, k=15, filter=near)
    assert expected
    project = archive.to_qgis(tmp_path / "map.qgz", query, k=15, filter=near)[0]
    seen = look_in_qgis(project)
    assert the_same(seen[f"nearest to {query.caption}"], expected)
    marked = seen.get(query.caption)
    assert (marked and sorted(row["id"] for row in marked["rows"])) == chosen


def test_the_command_takes_every_query_and_filter(postgis_places, look_in_qgis, tmp_path):
    def run(*arguments):
        project = tmp_path / "map.qgz"
        dsn = postgis_places.connection.info.dsn
        options = ["qgis", "places", *arguments, "--out", str(project), "--dsn", dsn]
        return CliRunner().invoke(app, options), project

    done, _ = run("--since", "2022", "--until", "2021")
    assert (done.exit_code, done.stdout) == (UsageError.exit_code, "")
    assert "--since 2022 is not before --until 2021" in done.stderr
    code = code_of(postgis_places.connection, "places", 3).hex()
    for query, near in ((["--code", f"0x{code}"], 25), (["--like", "3,9"], 24)):
        done, project = run(*query, "--max-distance", str(near), "-k", "40")
        assert done.exit_code == 0, done.stderr
        [hits] = [rows for name, rows in look_in_qgis(project).items() if "nearest" in name]
        distances = [row["distance"] for row in hits["rows"]]
        assert distances and max(distances) <= near

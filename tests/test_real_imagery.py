"""Real rasters into both kinds of database; runs where DCSH_TEST_DATA names a folder of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import psycopg
import pytest
import shapely
import sqlalchemy
from shapely.geometry import box, shape
from typer.testing import CliRunner

from dcsh_pg import Archive, CodeQuery, Filter
from dcsh_pg.cli.main import app
from dcsh_pg.database.search.chips import code_of
from dcsh_pg.database.server.dsn import url
from dcsh_pg.errors import PartialSuccess

DATA = os.environ.get("DCSH_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="DCSH_TEST_DATA names no folder of test imagery")

UNREADABLE = {
    "cog_int16.tif": "has 1 band, the model takes 3",
    "cog_nodata.tif": "has 1 band, the model takes 3",
    "corrupt.tif": "cannot be read",
    "float.tif": "has 1 band, the model takes 3",
}
"""What of the folder a model of three bands cannot take, and why."""


def ingest(dsn: str, model_file: Path):
    folder = str(Path(DATA, "geotiff"))
    options = ["--model", str(model_file), "--dsn", dsn, "--json", "-q"]
    return CliRunner().invoke(app, ["ingest", "real", folder, *options])


@pytest.fixture
def core(database, model_file) -> Archive:
    ingest(database, model_file)
    return Archive.open("real", dsn=database)


@pytest.fixture
def postgis(postgis_database, model_file) -> Archive:
    ingest(postgis_database, model_file)
    return Archive.open("real", dsn=postgis_database)


def test_what_cannot_be_read_is_reported_and_the_rest_is_stored(database, model_file):
    done = ingest(database, model_file)
    assert done.exit_code == PartialSuccess.exit_code
    report = json.loads(done.stdout)
    assert (report["scenes"], report["stored"], report["failed"]) == (9, 5, 4)
    assert f"{len(UNREADABLE)} of 9 scenes failed" in done.stderr
    listed = CliRunner().invoke(app, ["archive", "errors", "real", "--dsn", database, "--json"])
    reported = {Path(error["uri"]).name: error["message"] for error in json.loads(listed.stdout)}
    assert reported.keys() == UNREADABLE.keys()
    assert all(UNREADABLE[name] in message for name, message in reported.items())

    again = json.loads(ingest(database, model_file).stdout)
    assert (again["stored"], again["known"], again["failed"]) == (0, 5, 4)


def test_hits_are_the_same_with_and_without_postgis(core, postgis):
    assert core.record.chips == postgis.record.chips > 500
    places = core.search(CodeQuery(code_of(core.connection, core.name, 1)), k=core.record.chips)
    random = np.random.default_rng(0)
    for hit in random.choice(np.array(places, object), 6, replace=False):
        centre = shape(hit.footprint).centroid
        near = box(*centre.buffer(0.02).bounds)
        slanted = shapely.affinity.rotate(near, 30)
        for area in (None, near, slanted, shape(hit.footprint)):
            expected = core.similar_to(hit.id, k=50, filter=Filter(area=area))
            found = postgis.similar_to(hit.id, k=50, filter=Filter(area=area))
            assert [plain(one) for one in found] == [plain(one) for one in expected]
        assert (
            core.query_place(centre.x, centre.y).chip
            == postgis.query_place(centre.x, centre.y).chip
        )
    by_image = [
        archive.similar_to_image(places[0].uri, window=places[0].window)
        for archive in (core, postgis)
    ]
    assert [plain(hit) for hit in by_image[0]] == [plain(hit) for hit in by_image[1]]


def plain(hit) -> tuple:
    """A hit's facts; footprints to a centimetre, as PostGIS may begin a ring elsewhere."""
    corners = shapely.get_coordinates(shape(hit.footprint).normalize())
    return hit.id, hit.distance, hit.uri, hit.window, corners.round(7).tolist()


def union_of_footprints(archive: Archive) -> tuple[float, float, float, float]:
    hits = archive.search(
        CodeQuery(code_of(archive.connection, archive.name, 1)), k=archive.record.chips
    )
    return shapely.union_all([shape(hit.footprint) for hit in hits]).bounds


def test_gdal_reads_the_archive_as_a_layer(postgis, postgis_database):
    if shutil.which("ogrinfo") is None:
        pytest.skip("no program ogrinfo (package gdal-bin)")
    command = ["ogrinfo", "-so", f"PG:{postgis_database}", "dcsh.real"]
    reported = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Geometry: Polygon" in reported
    assert 'ID["EPSG",4326]]' in reported
    assert "FID Column = id" in reported
    assert f"Feature Count: {postgis.record.chips}" in reported
    corners = re.search(r"Extent: \((.*), (.*)\) - \((.*), (.*)\)", reported).groups()
    expected = union_of_footprints(postgis)
    assert [float(corner) for corner in corners] == pytest.approx(expected, abs=1e-6)


def test_geopandas_reads_the_archive(postgis, postgis_database):
    geopandas = pytest.importorskip("geopandas")
    engine = sqlalchemy.create_engine(
        url(postgis_database).replace("postgresql://", "postgresql+psycopg://")
    )
    frame = geopandas.read_postgis("SELECT id, geom FROM dcsh.real ORDER BY id", engine)
    assert frame.crs.to_epsg() == 4326
    assert set(frame.geom_type) == {"Polygon"} and frame["id"].is_unique
    assert frame.total_bounds == pytest.approx(union_of_footprints(postgis))


def test_the_key_comes_first_and_the_geometry_reports_its_type(postgis, postgis_database):
    with psycopg.connect(postgis_database) as conn:
        first = conn.execute("SELECT * FROM dcsh.real LIMIT 0").description[0].name
        layer = conn.execute(
            "SELECT type, srid, coord_dimension FROM geometry_columns WHERE f_table_name = 'real'"
        ).fetchone()
    assert first == "id"
    assert layer == ("POLYGON", 4326, 2)

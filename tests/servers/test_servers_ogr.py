"""GDAL's own programs on the layer of an archive, with PostGIS and without."""

import json
import shutil
import subprocess
from datetime import datetime, timezone

import numpy as np
import pytest
import searching as search
import shapely
from shapely.geometry import shape
from synthetic import Scene, add, new_archive

from dcsh_pg.codes import to_hex
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.dsn import url

CODES = np.random.default_rng(0).integers(0, 256, (20, 8), dtype=np.uint8)
BOXES = [shapely.box(9 + n / 100, 48.5, 9.01 + n / 100, 48.51) for n in range(20)]


def has_postgresql(program):
    formats = subprocess.run([program, "--formats"], capture_output=True, text=True).stdout
    return " PostgreSQL -vector-" in formats


pytestmark = pytest.mark.skipif(
    not shutil.which("ogrinfo") or not has_postgresql("ogrinfo"),
    reason="no ogrinfo with PostgreSQL here: it is in the package gdal-bin",
)


def filled(database):
    """Makes archive places in a database; gives the name that GDAL has for that."""
    with connect(database) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        for n in range(2):
            chips = slice(10 * n, 10 * n + 10)
            day = datetime(2021, 6, 1 + n, tzinfo=timezone.utc)
            add(loader, Scene(f"{n}.tif", acquired=day), CODES[chips], BOXES[chips])
        loader.flush()
    return f"PG:{url(database, require_auth=False)}"


@pytest.fixture(params=["database", "postgis_database"])
def source(request):
    return filled(request.getfixturevalue(request.param))


def ogr2ogr(*arguments):
    done = subprocess.run(["ogr2ogr", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def as_geojson(tmp_path, *arguments):
    """Features as ogr2ogr writes them, by its arguments: source, layer, options."""
    out = tmp_path / "out.geojson"
    ogr2ogr("-f", "GeoJSON", "-lco", "RFC7946=YES", str(out), *arguments)
    return json.loads(out.read_text())["features"]


def test_ogrinfo_knows_the_layer(source):
    reported = subprocess.run(
        ["ogrinfo", "-ro", "-so", source, "dcsh.places_layer"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    lines = reported.splitlines()
    fields = [line for line in lines if line.endswith("(0.0)")]
    assert fields[:2] == ["id: Integer64 (0.0)", "code: String (0.0)"]
    assert "acquired: DateTime (0.0)" in fields
    assert "Feature Count: 20" in lines
    assert "Extent: (9.000000, 48.500000) - (9.200000, 48.510000)" in lines
    if "Geometry Column = geom" in lines:
        assert "Geometry: Polygon" in lines
        assert 'ID["EPSG",4326]' in reported
    else:
        assert "Geometry Column = wkb_geometry" in lines


def test_ogr2ogr_reads_every_chip_and_filters_by_field_and_by_place(source, tmp_path):
    features = as_geojson(tmp_path, "-a_srs", "EPSG:4326", source, "dcsh.places_layer")
    assert [f["properties"]["id"] for f in features] == list(range(1, 21))
    assert [f["properties"]["code"] for f in features] == [to_hex(code) for code in CODES]
    for feature, box in zip(features, BOXES, strict=True):
        assert shapely.equals_exact(
            shape(feature["geometry"]).normalize(), box.normalize(), tolerance=1e-7
        )
    where = "uri = '1.tif' AND id < 14"
    features = as_geojson(
        tmp_path, "-a_srs", "EPSG:4326", "-where", where, source, "dcsh.places_layer"
    )
    assert [f["properties"]["id"] for f in features] == [11, 12, 13]
    spot = ["-spat", "9.051", "48.501", "9.069", "48.509"]
    features = as_geojson(tmp_path, "-a_srs", "EPSG:4326", *spot, source, "dcsh.places_layer")
    assert [f["properties"]["id"] for f in features] == [6, 7]


def test_ogr2ogr_takes_hits_from_a_query(postgis_database, tmp_path):
    source = filled(postgis_database)
    query = "SELECT * FROM dcsh.search_layer('places', 5, k => 7)"
    features = as_geojson(tmp_path, "-sql", query, source)
    with connect(postgis_database) as conn:
        hits = search.similar_to(conn, "places", 5, k=7)
    assert [(f["properties"]["id"], f["properties"]["distance"]) for f in features] == [
        (hit.id, hit.distance) for hit in hits
    ]

"""One query, asked of psql, Python, the command line, tipg, a vector tile and QGIS: the same hits.

On one server, and of an archive that is distributed over a Citus cluster.
"""

import json
import shutil
import subprocess

import mapbox_vector_tile
import numpy as np
import pytest
import shapely
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg import ChipQuery, Filter
from dcsh_pg.archive import Archive
from dcsh_pg.cli.main import app as command_line
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.dsn import url

CHIP, K = 17, 25
AREA = shapely.box(9.0, 48.4, 9.05, 48.6)
INSIDE = Filter(area=AREA)


@pytest.fixture
def places(any_postgis):
    """300 chips on a grid; codes of 16 bits, so that many distances are equal."""
    conn = connect(any_postgis)
    loader = Loader(conn, new_archive(conn, "places", 16))
    codes = np.random.default_rng(4).integers(0, 256, (300, 2), dtype=np.uint8)
    x, y = 9 + np.arange(300) % 20 / 200, 48.5 + np.arange(300) // 20 / 200
    add(loader, Scene("all.tif"), codes, shapely.box(x, y, x + 0.005, y + 0.005))
    loader.flush()
    conn.close()
    with Archive.open("places", dsn=any_postgis).connection as opened:
        yield Archive(opened, Archive.open("places", dsn=any_postgis).record)


def of_psql(dsn):
    psql = shutil.which("psql") or pytest.skip("no psql: install Debian's postgresql-client")
    query = (
        f"SELECT distance, id FROM dcsh.similar_to('places', {CHIP}, k => {K},"
        f" area => ST_GeomFromText('{AREA.wkt}', 4326))"
    )
    done = subprocess.run([psql, dsn, "-AtF", " ", "-c", query], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]


def of_command_line(dsn):
    arguments = ["search", "places", "--chip", CHIP, "-k", K, "--area", AREA.wkt, "-f", "json"]
    done = CliRunner().invoke(command_line, [*map(str, arguments), "--dsn", dsn])
    assert done.exit_code == 0, done.stderr
    return [(row["distance"], row["id"]) for row in json.loads(done.stdout)]


def of_tipg(tipg, dsn, monkeypatch):
    from starlette.testclient import TestClient

    monkeypatch.setenv("DATABASE_URL", url(dsn))
    query = {"archive": "places", "chip": CHIP, "k": K, "area": AREA.wkt}
    with TestClient(tipg) as client:
        page = client.get(
            "/collections/dcsh.search_layer/items",
            params={**query, "f": "geojson", "sortby": "rank", "limit": 100},
        ).json()
    return [(f["properties"]["distance"], f["id"]) for f in page["features"]]


def of_tile(places):
    content = places.tile(0, 0, 0, ChipQuery(CHIP), k=K, filter=INSIDE)
    features = mapbox_vector_tile.decode(content)["centres"]["features"]
    return sorted((f["properties"]["distance"], f["id"]) for f in features)


def of_qgis(places, look_in_qgis, folder):
    [project] = places.to_qgis(folder / "places.qgz", places.query_chip(CHIP), k=K, filter=INSIDE)
    rows = look_in_qgis(project)[f"nearest to chip {CHIP}"]["rows"]
    return sorted((row["distance"], row["id"]) for row in rows)


def test_all_give_the_same(places, any_postgis, tipg, look_in_qgis, monkeypatch, tmp_path):
    hits = [(hit.distance, hit.id) for hit in places.similar_to(CHIP, k=K, filter=INSIDE)]
    assert len(hits) == K and len({distance for distance, _ in hits}) < K
    assert of_psql(any_postgis) == hits
    assert of_command_line(any_postgis) == hits
    assert of_tipg(tipg, any_postgis, monkeypatch) == hits
    assert of_tile(places) == hits
    assert of_qgis(places, look_in_qgis, tmp_path) == hits

"""One query, three ways in: Python, the command line and SQL give the same rows."""

import json
from datetime import datetime

import numpy as np
import psycopg
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from shapely import box
from shapely.geometry import shape
from typer.testing import CliRunner

from dcsh_pg import Archive, CodeQuery, Filter, codes
from dcsh_pg.cli.main import app
from dcsh_pg.database.search.chips import code_of
from dcsh_pg.errors import ModelError, NotFound


@pytest.fixture
def archive(any_deployment, model_file, scenes):
    made = Archive.create("a", model_file, chip_size=128, dsn=any_deployment)
    made.ingest([str(scenes)])
    yield made
    made.connection.close()


def test_all_ways_give_the_same_rows(archive, any_deployment, scenes, tmp_path):
    middle = archive.similar_to(1, k=1)[0]
    left, low, right, high = shape(middle.footprint).buffer(0.001).bounds
    since = "2020-01-01"
    python = archive.similar_to(
        5, k=7, filter=Filter(area=box(left, low, right, high), since=datetime(2020, 1, 1))
    )
    assert python

    done = CliRunner().invoke(
        app,
        ["search", "a", "--chip", "5", "-k", "7", "--area", f"{left},{low},{right},{high}",
         "--since", since, "--format", "json", "--dsn", any_deployment],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    reported = json.loads(done.stdout)

    with psycopg.connect(any_deployment) as conn:
        wkt = box(left, low, right, high).wkt
        corners = f"(({left},{low}),({right},{low}),({right},{high}),({left},{high}))"
        area = {"geometry": f"'SRID=4326;{wkt}'::geometry", "polygon": f"'{corners}'::polygon"}
        [kind] = conn.execute(
            "SELECT split_part(format_type(atttypid, NULL), '(', 1) FROM pg_attribute "
            "WHERE attrelid = 'dcsh.a'::regclass AND attname = 'geom'"
        ).fetchone()
        sql = conn.execute(
            "SELECT id, distance FROM dcsh.similar_to('a', 5, k => 7, "
            f"area => {area[kind.split('.')[-1]]}, since => '{since}+00')"
        ).fetchall()
    assert [(hit.id, hit.distance) for hit in python] == sql
    assert [(hit["id"], hit["distance"]) for hit in reported] == sql


def test_an_image_cut_from_a_scene_finds_its_own_chip_first(archive, scenes, tmp_path):
    target = archive.similar_to(1, k=1)[0]
    query = tmp_path / "query.png"
    Image.fromarray(archive.read_chip(target)).save(query)
    hits = archive.similar_to_image(query, k=3)
    assert hits[0].distance == 0
    assert target.id in [
        hit.id
        for hit in archive.search(archive.query_image(query), k=None, filter=Filter(max_distance=0))
    ]

    windowed = archive.query_image(target.uri, window=target.window)
    assert windowed.code == code_of(archive.connection, "a", target.id)


def test_hits_equal_brute_force(archive, any_deployment):
    with psycopg.connect(any_deployment) as conn:
        stored = conn.execute("SELECT id, code::text FROM dcsh.a ORDER BY id").fetchall()
    ids = np.array([id for id, _ in stored])
    packed = np.stack([codes.from_text(code) for _, code in stored])
    for query in (0, len(ids) // 2):
        distances = codes.hamming(packed[query], packed)[0]
        order = np.lexsort((ids, distances))[:20]
        hits = archive.search(CodeQuery(bytes(packed[query])), k=20)
        assert [(h.id, h.distance) for h in hits] == [(ids[i], distances[i]) for i in order]
        assert archive.similar_to(int(ids[query]), k=19) == [
            hit for hit in hits if hit.id != ids[query]
        ]


def test_a_place_is_the_chip_that_covers_it(archive):
    target = archive.similar_to(1, k=1)[0]
    centre = shape(target.footprint).centroid
    query = archive.query_place(centre.x, centre.y)
    assert shape(query.footprint).is_valid
    assert archive.search(query, k=4) == archive.similar_to(query.chip, k=4)
    with pytest.raises(NotFound):
        archive.query_place(100.0, -45.0)


def test_a_code_of_another_length_is_refused(archive):
    with pytest.raises(ModelError, match="the code has 32 bits, archive 'a' has 64"):
        archive.search(CodeQuery(bytes(4)))


def test_the_model_comes_from_the_database(archive, any_deployment, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    opened = Archive.open("a", dsn=any_deployment)
    assert opened.hasher.sha256 == archive.record.model_sha256
    [cached] = tmp_path.rglob("*.onnx")
    cached.write_bytes(b"damaged")
    assert Archive.open("a", dsn=any_deployment).hasher.sha256 == archive.record.model_sha256


def test_a_hit_whose_file_is_gone_still_comes_with_its_footprint(archive, scenes):
    archive.connection.execute("UPDATE dcsh.scene SET uri = uri || '.gone'")
    query = archive.query_chip(1)
    assert query.pixels is None
    assert archive.search(query, k=2)[0].footprint["type"] == "Polygon"


def test_the_bands_taken_are_printed_and_an_older_archive_keeps_its_way(
    any_database, model_file, scenes, tmp_path
):
    """The same picture with bands marked red, green, blue and with blue, green, red."""
    source = min(scenes.glob("*.tif"))
    with rasterio.open(source) as plain:
        data, profile = plain.read(), plain.profile
    path = tmp_path / "bgr.tif"
    exact = profile | {"compress": "deflate", "photometric": "minisblack"}
    with rasterio.open(path, "w", **exact) as target:
        target.write(data[::-1])
        target.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]

    def ingested(name):
        archive = Archive.create(name, model_file, chip_size=128, dsn=any_database)
        if name == "old":
            archive.connection.execute(
                "UPDATE dcsh.archive SET reading = reading - 'raw_values' - 'by_colour' "
                "WHERE name = 'old'"
            )
            archive.connection.commit()
            archive.connection.close()
            archive = Archive.open(name, dsn=any_database)
        report = archive.ingest([str(source), str(path)])
        sql = f"SELECT code::text FROM dcsh.{name} ORDER BY id"
        found = [code for (code,) in archive.connection.execute(sql)]
        archive.connection.close()
        return report, found[: len(found) // 2], found[len(found) // 2 :]

    report, rgb, bgr = ingested("new")
    assert rgb == bgr and report.bands == {"1,2,3": 1, "3,2,1": 1}
    assert "bands 1,2,3 of 1 scenes and 3,2,1 of 1" in report.summary()
    report, before, swapped = ingested("old")
    assert before == rgb and swapped != bgr and report.bands == {"1,2,3": 2}
    assert "bands 1,2,3," in report.summary()

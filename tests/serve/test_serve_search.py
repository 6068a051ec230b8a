"""Searches through the interface find what the library finds, and say nothing of this machine."""

import io
import json
import shlex
import zipfile
from collections import Counter
from dataclasses import replace
from datetime import datetime, timezone

import mapbox_vector_tile
import numpy as np
import pytest
from PIL import Image
from shapely.geometry import box, mapping, shape
from typer.testing import CliRunner

from dcsh_pg import codes
from dcsh_pg.cli.main import app
from dcsh_pg.database.search.change import find_changes
from dcsh_pg.database.search.chips import chips, code_of
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.near_duplicates import near_duplicates
from dcsh_pg.serve.footprint_tiles import to_mercator

HOME = "/api/archives/towns"
MARKED = {"likes": [3, 5, 11], "unlikes": [4, 9]}


def post(client, end, query, status=200, **asked):
    answer = client.post(f"{HOME}/{end}", json={"query": query, **asked})
    assert answer.status_code == status, answer.text
    return answer


def ids(answer):
    return [feature["id"] for feature in answer.json()["features"]]


def test_archive_is_described(client, archive):
    about = client.get(HOME).json()
    assert about["chips"] == archive.record.chips
    assert about["bits"] == 64
    assert len(about["bounds"]) == 4
    assert set(about["downloads"]) - {"qgis"} == {"geojson", "csv", "geoparquet"}
    assert ("qgis" in about["downloads"]) == (about["layer"] == "postgis")
    [listed] = client.get("/api/archives").json()
    assert listed["name"] == "towns"


def test_search_finds_what_the_library_finds(client, archive):
    found = post(client, "search", {"chip": 3}, k=7).json()["features"]
    hits = archive.similar_to(3, k=7)
    assert [(f["id"], f["properties"]["distance"]) for f in found] == [
        (hit.id, hit.distance) for hit in hits
    ]
    assert found[0]["geometry"] == hits[0].footprint


def test_search_by_place_code_region_and_marks(client, archive):
    hit = archive.similar_to(3, k=1)[0]
    place = shape(hit.footprint).centroid
    [at] = [post(client, "search", {"at": [place.x, place.y]}, k=5)]
    chip = at.json()["query"]["chip"]
    assert ids(at) == [h.id for h in archive.similar_to(chip, k=5)]
    code = codes.to_hex(code_of(archive.connection, "towns", 3))
    same_code = [h.id for h in archive.similar(code, k=5)]
    assert ids(post(client, "search", {"code": code}, k=5)) == same_code and 3 in same_code
    region = shape(hit.footprint)
    expected = archive.search(archive.query_region(region), k=5)
    assert ids(post(client, "search", {"region": mapping(region)}, k=5)) == [h.id for h in expected]
    marked = archive.search(archive.query_examples([3, 5], [9], rule="rocchio"), k=5)
    answer = post(client, "search", {"likes": [3, 5], "unlikes": [9]}, k=5)
    assert ids(answer) == [h.id for h in marked]


def test_filters_are_those_of_the_library(client, archive):
    west, south, east, north = client.get(HOME).json()["bounds"]
    area = box(west, south, (west + east) / 2, north)
    filter = Filter(area=area, max_distance=30)
    asked = {"area": mapping(area), "max_distance": 30, "until": "2020-01-01"}
    answer = post(client, "search", {"chip": 1}, k=50, filter=asked)
    expected = archive.similar_to(1, k=50, filter=replace(filter, until=datetime(2020, 1, 1)))
    assert ids(answer) == [hit.id for hit in expected] != []
    scene = archive.similar_to(1, k=1)[0].scene_id
    found = post(client, "search", {"chip": 1}, filter={"scenes": [scene]}).json()["features"]
    assert {feature["properties"]["scene_id"] for feature in found} == {scene}


@pytest.mark.parametrize(
    ("query", "asked", "words"),
    [
        ({}, {}, "exactly one query"),
        ({"chip": 1, "code": "0x00"}, {}, "exactly one query"),
        ({"likes": [], "unlikes": [2]}, {}, "exactly one query"),
        ({"code": "0x0000"}, {}, "the code has 16 bits"),
        ({"region": {"type": "Point", "coordinates": [0, 0]}}, {}, "no area"),
        ({"chip": 1}, {"filter": {"where": "/etc/passwd.json"}}, "not CQL2"),
        ({"chip": 1}, {"filter": {"since": "2022-01-01", "until": "2021-01-01"}}, "not before"),
    ],
)
def test_invalid_searches_are_explained(client, query, asked, words):
    answer = post(client, "search", query, 400, **asked)
    assert words in answer.json()["error"]


def test_missing_chips_and_archives_are_not_found(client):
    assert post(client, "search", {"chip": 10**9}, 404).json()["error"]
    assert client.get("/api/archives/dcsh").status_code == 404
    assert client.get(f"{HOME}/chips/{10**9}/thumbnail").status_code == 404
    assert "k: " in post(client, "search", {"chip": 1}, 422, k=10**6).json()["error"]


def test_no_answer_has_a_path(client, archive, scenes):
    query = {"chip": 1}
    answers = [
        client.get(HOME),
        client.get(f"{HOME}/chips/1"),
        post(client, "search", query),
        post(client, "text", query),
        *(post(client, f"export/{end}", query) for end in ("geojson", "csv", "geoparquet")),
        *(client.get(f"{HOME}/tiles/{z}/{x}/{y}.mvt") for z, x, y in tiles_of(archive)),
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert str(scenes).encode() not in answer.content


def test_picture_becomes_the_code_of_its_chip(client, archive):
    hit = archive.similar_to(3, k=1)[0]
    file = io.BytesIO()
    Image.fromarray(archive.read_chip(hit)).save(file, "PNG")
    answer = client.post(f"{HOME}/pictures", files={"file": ("a.png", file.getvalue())}).json()
    code = codes.to_hex(code_of(archive.connection, "towns", hit.id))
    assert answer["code"] == f"0x{code}"
    text = post(client, "text", {"code": answer["code"]}).json()
    assert f"--code 0x{code}" in text["command"]
    assert answer["scale"] == pytest.approx(1)


def test_qgis_project_has_the_search_and_no_password_or_path(client, archive, scenes):
    answer = client.post(f"{HOME}/export/qgis", json={"query": MARKED, "k": 7})
    if client.get(HOME).json()["layer"] == "core":
        assert answer.status_code == 400
        assert "PostGIS" in answer.json()["error"]
        return
    with zipfile.ZipFile(io.BytesIO(answer.content)) as project:
        text = project.read("towns.qgs").decode()
    assert "similar_to_examples" in text and "rocchio" in text
    assert "password" not in text and str(scenes) not in text


def test_change_is_that_of_the_library(client, archive):
    asked = {"until": "2020-01-01", "after_until": "2030-01-01", "k": 5}
    found = client.post(f"{HOME}/change", json=asked).json()["features"]
    until, after = (datetime(year, 1, 1, tzinfo=timezone.utc) for year in (2020, 2030))
    expected = find_changes(archive.connection, "towns", (None, until), (until, after), k=5)
    assert (
        [(f["id"], f["properties"]["before_id"], f["properties"]["distance"]) for f in found]
        == [(change.id, change.before_id, change.distance) for change in expected]
        != []
    )
    assert found[0]["properties"]["acquired"] > "2020" > found[0]["properties"]["before_acquired"]
    wrong = client.post(f"{HOME}/change", json=asked | {"after_until": "2019-01-01"})
    assert wrong.status_code == 400


def test_duplicates_are_grouped_the_largest_first(client, archive):
    found = client.post(f"{HOME}/duplicates", json={"radius": 6, "k": 3}).json()
    expected = near_duplicates(archive.connection, "towns", 6)
    sizes = Counter(one.group_id for one in expected)
    assert (found["groups"], found["chips"]) == (len(sizes), len(expected))
    groups = [f["properties"]["group_id"] for f in found["features"]]
    assert (
        list(dict.fromkeys(groups)) == sorted(sizes, key=lambda group: (-sizes[group], group))[:3]
    )
    first = [one.chip.id for one in expected if one.group_id == groups[0]]
    assert [f["id"] for f in found["features"]][: len(first[:50])] == first[:50]


VRT = """<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1">
<SimpleSource><SourceFilename>{file}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"""


def test_uploads_that_name_other_files_are_refused(client, archive):
    secret = archive.similar_to(3, k=1)[0].uri
    for name in ("a.vrt", "a.tif", "a.png"):
        content = VRT.format(file=secret).encode()
        answer = client.post(f"{HOME}/pictures", files={"file": (name, content)})
        assert answer.status_code == 400
        assert "/" not in answer.json()["error"]


def test_large_uploads_are_refused(client):
    answer = client.post(f"{HOME}/pictures", files={"file": ("a.png", b"\0" * (34 << 20))})
    assert answer.status_code == 413


def tiles_of(archive):
    _, footprints = chips(archive.connection, "towns", limit=1)
    west, south, east, north = footprints[0].bounds
    x, y = to_mercator(np.array([[(west + east) / 2, (south + north) / 2]]))[0] / 20037508.342789244
    for z in (15, 17):
        yield z, int((x + 1) / 2 * 2**z), int((1 - y) / 2 * 2**z)


def test_vector_tiles_have_the_chips(client, archive):
    [(z, x, y), _] = tiles_of(archive)
    content = client.get(f"{HOME}/tiles/{z}/{x}/{y}.mvt").content
    [feature, *_] = mapbox_vector_tile.decode(content)["chips"]["features"]
    assert feature["id"] >= 1
    assert feature["properties"] == {}
    assert client.get(f"{HOME}/tiles/3/9/0.mvt").status_code == 400


def test_imagery_tiles_show_the_scenes(client, archive):
    *_, (z, x, y) = tiles_of(archive)
    answer = client.get(f"{HOME}/imagery/{z}/{x}/{y}.webp")
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert picture.shape == (256, 256, 4)
    assert picture[..., 3].mean() > 10
    assert client.get(f"{HOME}/imagery/5/0/0.webp").status_code == 204


def test_thumbnail_is_the_chip(client, archive):
    hit = archive.similar_to(3, k=1)[0]
    picture = Image.open(io.BytesIO(client.get(f"{HOME}/chips/{hit.id}/thumbnail").content))
    difference = np.asarray(picture).astype(int) - archive.read_chip(hit)
    assert np.abs(difference).mean() < 8


def test_histogram_counts_every_chip(client, archive):
    found = post(client, "histogram", {"chip": 3}).json()
    counts = dict(map(tuple, found["distances"]))
    distances = [hit.distance for hit in archive.similar_to(3, k=10_000)] + [0]
    assert counts == {d: distances.count(d) for d in set(distances)}
    assert sum(count for _, count in found["periods"]) == archive.record.chips


def test_surface_has_the_least_distance_of_each_cell(client, archive):
    zoom = 17
    found = post(client, "surface", {"chip": 3}, zoom=zoom).json()
    columns, footprints = chips(archive.connection, "towns")
    packed = np.array([list(bytes.fromhex(code)) for code in columns["code"]], np.uint8)
    distances = codes.hamming(packed, packed[[columns["id"].index(3)]])[:, 0]
    centres = np.array(
        [[(b[0] + b[2]) / 2, (b[1] + b[3]) / 2] for b in map(lambda f: f.bounds, footprints)]
    )
    unit = to_mercator(centres) / (2 * 20037508.342789244)
    cells = {}
    for (x, y), distance in zip(unit, distances, strict=True):
        cell = int((x + 0.5) * 2**zoom), int((0.5 - y) * 2**zoom)
        cells[cell] = min(cells.get(cell, 999), int(distance))
    assert {
        (x, y): distance
        for x, y, distance in zip(found["x"], found["y"], found["distance"], strict=True)
    } == cells
    assert sum(found["chips"]) == archive.record.chips


@pytest.mark.parametrize("query", [{"chip": 3}, MARKED], ids=["chip", "marks"])
def test_command_and_sql_give_the_same_rows(client, archive, query):
    asked = {"filter": {"until": "2020-01-01", "max_distance": 40}, "k": 200}
    expected = ids(post(client, "search", query, **asked))
    text = post(client, "text", query, **asked).json()
    rows = archive.connection.execute(text["sql"]).fetchall()
    assert [row[0] for row in rows] == expected != []
    done = CliRunner().invoke(
        app,
        [
            *shlex.split(text["command"])[1:],
            "--format",
            "json",
            "--dsn",
            archive.connection.info.dsn + " password=" + (archive.connection.info.password or ""),
        ],
    )
    assert [row["id"] for row in json.loads(done.stdout)] == expected

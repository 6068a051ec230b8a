from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from shapely.geometry import shape

from dcsh_pg import results
from dcsh_pg.errors import OutputError, UsageError
from dcsh_pg.results.record import place, scene_name


@pytest.mark.parametrize(
    ("lon", "lat", "text"),
    [
        (-77.0365, 38.8977, "77.0365°W, 38.8977°N"),
        (151.2153, -33.8568, "151.2153°E, 33.8568°S"),
        (0.0, 0.0, "0.0000°E, 0.0000°N"),
    ],
)
def test_place_names_the_hemispheres(lon, lat, text):
    ring = [[lon - 1, lat - 1], [lon + 1, lat - 1], [lon + 1, lat + 1], [lon - 1, lat + 1]]
    footprint = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    assert place(footprint) == text


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("file:///a/b.tif", "b.tif"),
        ("/a/b c.jpg", "b c.jpg"),
        ("https://host/x/y.tif?token=1/2", "y.tif"),
        ("C:\\data\\z.tif", "z.tif"),
    ],
)
def test_scene_name(uri, name):
    assert scene_name(uri) == name


def test_json_is_one_object_a_hit(hits):
    rows = json.loads(results.dumps(hits, "json"))
    assert [row["id"] for row in rows] == [hit.id for hit in hits]
    assert rows[0]["footprint"] == hits[0].footprint
    assert rows[-1]["footprint"] is None


def test_geojson_keeps_rfc_7946(hits):
    collection = json.loads(results.dumps(hits, "geojson"))
    first, last = collection["features"][0], collection["features"][-1]
    assert collection["bbox"] == pytest.approx([-117.2, 32.7, -117.16, 32.71])
    assert first["id"] == first["properties"]["id"] == 100
    assert first["bbox"] == pytest.approx([-117.2, 32.7, -117.19, 32.71])
    assert last["geometry"] is None and "bbox" not in last
    ring = first["geometry"]["coordinates"][0]
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring))
    assert area > 0, "the outer ring runs counterclockwise"


def test_geojson_opens_as_a_layer(hits, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    path = tmp_path / "hits.geojson"
    results.write(hits, path)
    layer = geopandas.read_file(path)
    assert layer.crs.to_epsg() == 4326
    assert list(layer["rank"]) == [1, 2, 3, 4, 5]
    assert layer.geometry.iloc[0].equals(shape(hits[0].footprint))


def test_csv_has_wkt(hits):
    rows = list(csv.DictReader(io.StringIO(results.dumps(hits, "csv"))))
    assert rows[0]["wkt"].startswith("POLYGON ((-117.2 32.71")
    assert (rows[0]["class"], rows[-1]["class"], rows[-1]["wkt"]) == ("beach", "", "")


def test_csv_reports_nested_properties_as_json(make_hit):
    text = results.dumps([make_hit(0, properties={"eo": {"cloud": 3}})], "csv")
    assert json.loads(next(csv.DictReader(io.StringIO(text)))["eo"]) == {"cloud": 3}


def test_geoparquet_holds_the_same_rows(hits, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "hits.parquet"
    results.write(hits, path)
    frame = geopandas.read_parquet(path)
    assert list(frame["id"]) == [hit.id for hit in hits]
    assert frame["acquired"].iloc[0].isoformat() == "2021-07-04T16:02:00+00:00"
    assert frame.geometry.iloc[1].equals(shape(hits[1].footprint))
    assert frame.geometry.iloc[-1] is None
    assert json.loads(parquet.read_schema(path).metadata[b"geo"])["version"] == "1.1.0"


def test_geoparquet_of_mixed_properties_and_of_nothing(make_hit, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    pytest.importorskip("pyarrow")
    mixed = [make_hit(0, properties={"gsd": 0.5}), make_hit(1, properties={"gsd": "30 m"})]
    results.write(mixed, tmp_path / "mixed.parquet")
    results.write([], tmp_path / "none.parquet")
    frame = geopandas.read_parquet(tmp_path / "mixed.parquet")
    assert list(frame["gsd"]) == ["0.5", "30 m"]
    none = geopandas.read_parquet(tmp_path / "none.parquet")
    assert len(none) == 0
    assert none.dtypes["id"] == frame.dtypes["id"]
    assert none.dtypes["acquired"] == frame.dtypes["acquired"]


def test_geoparquet_without_geopandas_names_the_extra(hits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "geopandas", None)
    with pytest.raises(OutputError, match="geopandas is not installed") as caught:
        results.write(hits, tmp_path / "hits.parquet")
    assert "dcsh-pg[geo]" in caught.value.hint


def test_table_leaves_out_what_no_hit_knows(hits, capsys):
    results.show(hits)
    full = capsys.readouterr().out
    results.show(hits[-1:])
    bare = capsys.readouterr().out
    assert "2021-07-04 16:02" in full
    assert "117.1950°W, 32.7050°N" in full
    assert "scene_4.tif" in bare
    assert "place" not in bare and "acquired" not in bare


def test_table_shows_brackets_in_names(make_hit, capsys):
    results.show([make_hit(0, uri="/a/[red]x.tif")])
    assert "[red]x.tif" in capsys.readouterr().out


def test_no_hits_are_valid_outputs():
    assert json.loads(results.dumps([], "json")) == []
    assert json.loads(results.dumps([], "geojson")) == {
        "type": "FeatureCollection",
        "features": [],
    }
    assert results.dumps([], "csv").startswith("rank,distance,pair_share,id")


def test_show_prints_on_stdout(hits, capsys):
    results.show(hits, "geojson")
    assert capsys.readouterr().out == results.dumps(hits, "geojson")
    results.show(hits)
    assert "scene_0.tif" in capsys.readouterr().out
    with pytest.raises(UsageError, match="'xml'") as caught:
        results.show(hits, "xml")
    assert "geojson" in caught.value.hint


def test_outputs_are_checked_before_the_search(tmp_path, monkeypatch):
    for suffix in results.outputs.suffixes():
        results.check_output(tmp_path / "new" / f"hits{suffix}")
    assert os.listdir(tmp_path) == []
    with pytest.raises(UsageError):
        results.check_output(tmp_path / "hits.shp")
    with pytest.raises(OutputError):
        results.check_output("/dev/null/hits.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OutputError, match="pyarrow"):
        results.check_output(tmp_path / "hits.parquet")


def test_unknown_suffix_names_those_that_are_known(hits, tmp_path):
    with pytest.raises(UsageError) as caught:
        results.write(hits, tmp_path / "hits.shp")
    assert ".geojson" in caught.value.hint


def test_unwritable_path_is_named_and_leaves_nothing(hits, tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "hits.geojson"
    with pytest.raises(OutputError, match=r"file/hits\.geojson"):
        results.write(hits, path)
    (tmp_path / "hits.csv").mkdir()
    with pytest.raises(OutputError, match=r"hits\.csv: it is a directory"):
        results.write(hits, tmp_path / "hits.csv")
    assert sorted(os.listdir(tmp_path)) == ["file", "hits.csv"]


def test_failed_write_keeps_the_old_file(make_hit, tmp_path):
    path = tmp_path / "hits.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        results.write([make_hit(0, properties={"odd": object()})], path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["hits.json"]


def test_import_needs_no_optional_library():
    code = (
        "import sys, dcsh_pg.results;"
        "assert not {'geopandas', 'pandas', 'pyarrow', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


NEW_OUTPUT = """
from dcsh_pg.results.outputs import text_output


@text_output("lines", ".lines")
def to_lines(table):
    return "".join(f"{record['id']}\\n" for record in table.records)
"""


def test_a_new_output_is_one_file(tmp_path):
    """It is printed and written, and the command line offers it."""
    shutil.copytree(Path(results.__file__).parent, tmp_path / "results")
    (tmp_path / "results" / "to_lines.py").write_text(NEW_OUTPUT)
    code = f"""
import dcsh_pg
dcsh_pg.__path__.insert(0, {str(tmp_path)!r})
from typer.testing import CliRunner
from dcsh_pg import results
from dcsh_pg.cli.main import app
rows = [{{"id": 7, "footprint": None}}]
assert results.dumps(rows, "lines", columns={{"id": int}}) == "7\\n"
results.write(rows, {str(tmp_path / "rows.lines")!r}, columns={{"id": int}})
for command in ("search", "duplicates"):
    shown = CliRunner().invoke(app, [command, "--help"], env={{"COLUMNS": "300"}}).stdout
    assert ", lines." in shown and ".lines" in shown, shown
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / "rows.lines").read_text() == "7\n"

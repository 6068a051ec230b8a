"""The whole path through the command line, on imagery small enough for a test."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from dcsh_pg import demo
from dcsh_pg.cli.main import app
from dcsh_pg.errors import SchemaError

pytest.importorskip("torch", reason="training needs the extra 'train'")


@pytest.fixture
def run(database, monkeypatch, tmp_path):
    """Runs a command that must go well, in a folder and a database of its own."""
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.stderr
        return result

    return run


@pytest.fixture
def labelled(tmp_path, scenes):
    """Pictures in class folders: two kinds of one scene's chips."""
    source = Image.open(next(iter(sorted(scenes.glob("*.tif"))))).convert("RGB")
    folder = tmp_path / "labelled"
    for number in range(8):
        kind = ("left", "right")[number % 2]
        (folder / kind).mkdir(parents=True, exist_ok=True)
        left, top = 64 * (number % 2) * 4, 64 * number
        source.crop((left, top, left + 64, top + 64)).save(folder / kind / f"{number}.png")
    return folder


def test_from_imagery_to_hits(run, scenes, tmp_path):
    few = ("--chip-size", 64, "--limit", 48, "--epochs", 2, "--batch-size", 16, "--bits", 32)
    trained = run("train", scenes, "--out", "run", *few, "--device", "cpu")
    assert "learned from 48 chips" in trained.stderr
    exported = run("export", "run", "model.onnx", "--name", "small")
    assert "parity: " in exported.stderr
    card = json.loads(run("model", "show", "model.onnx", "--json").stdout)
    assert (card["name"], card["bits"], card["chip_size"]) == ("small", 32, 64)

    stored = json.loads(run("ingest", "places", scenes, "-m", "model.onnx", "-q", "--json").stdout)
    assert (stored["stored"], stored["failed"]) == (4, 0)
    again = json.loads(run("ingest", "places", scenes, "-q", "--json").stdout)
    assert (again["stored"], again["known"]) == (0, 4)
    reported = json.loads(run("archive", "show", "places", "--json").stdout)
    assert reported["chips"] == stored["chips"] > 100

    def found(*options):
        return json.loads(run("search", "places", *options, "-f", "json").stdout)

    by_chip = found("--chip", 5, "-k", 7)
    assert len(by_chip) == 7 and 5 not in [hit["id"] for hit in by_chip]
    order = [(hit["distance"], hit["id"]) for hit in by_chip]
    assert order == sorted(order)
    lon, lat = by_chip[0]["footprint"]["coordinates"][0][0]
    lon, lat = lon + 1e-5, lat - 1e-5
    west, south, east, north = lon - 0.01, lat - 0.01, lon + 0.01, lat + 0.01
    box = f"{west},{south},{east},{north}"
    assert found("--at", lon, lat, "--area", box)
    scene = sorted(scenes.glob("*.tif"))[0]
    by_image = found("--image", scene, "--window", "64,0,64,64", "-k", 1)
    assert by_image[0]["distance"] == 0
    dated = found("--chip", 5, "--since", "2020", "--until", "2024-01")
    assert dated and all(hit["acquired"].startswith("2023") for hit in dated)

    files = [tmp_path / f"hits.{suffix}" for suffix in ("json", "geojson", "csv", "png", "parquet")]
    outputs = [option for file in files for option in ("--out", file)]
    table = run("search", "places", "--chip", 5, "-k", 7, *outputs).stdout
    assert table.count(".tif") == 7
    assert json.loads(files[0].read_text()) == by_chip
    features = json.loads(files[1].read_text())["features"]
    assert [feature["geometry"] for feature in features] == [hit["footprint"] for hit in by_chip]
    assert [int(row["id"]) for row in csv.DictReader(files[2].open())] == [
        hit["id"] for hit in by_chip
    ]
    assert Image.open(files[3]).width > 200
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.read_parquet(files[4])
    assert frame.crs.to_epsg() == 4326 and list(frame["id"]) == [hit["id"] for hit in by_chip]

    run("model", "save", "places", "saved.onnx")
    assert (tmp_path / "saved.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()
    assert "places" in run("db", "status").stdout
    run("archive", "drop", "places", "--yes")
    assert json.loads(run("archive", "list", "--json").stdout) == []


def test_evaluation_of_pictures_in_class_folders(run, labelled, model_file, tmp_path):
    run("ingest", "kinds", labelled, "-m", model_file, "-q")
    report = json.loads(run("evaluate", "kinds", "--json", "-q").stdout)
    assert (report["database"], report["queries"], report["leave_one_out"]) == (8, 8, True)
    assert 0 < report["mean_average_precision"] <= 1
    asked = json.loads(run("evaluate", "kinds", "--queries", labelled, "--json", "-q").stdout)
    assert (asked["queries"], asked["leave_one_out"]) == (8, False)
    pytest.importorskip("matplotlib")
    run("evaluate", "kinds", "--plots", "plots", "-q")
    assert len(list((tmp_path / "plots").glob("*.png"))) == 2


@pytest.fixture
def few_scenes(scenes, tmp_path):
    """Scenes that the demo takes as those of an earlier run."""
    shutil.copytree(scenes, tmp_path / "dcsh-demo" / "scenes")


def test_the_demo_twice(run, few_scenes, tmp_path):
    first = run("demo", "-q")
    assert first.stdout.count("$ dcsh-pg search dcsh_demo") == 3
    assert len(list((tmp_path / "dcsh-demo").glob("*.geojson"))) == 3
    assert run("demo", "-q").stdout == first.stdout

    command = first.stdout.split("$ dcsh-pg ")[1].splitlines()[0]
    hits = json.loads(run(*command.split(), "-f", "json").stdout)
    assert len(hits) == 10
    distances = [hit["distance"] for hit in hits]
    assert len(set(distances)) >= 5  # a ranking, not ten equal codes


def test_the_demo_needs_no_torch(run, few_scenes):
    program = "import sys; sys.modules['torch'] = None; from dcsh_pg.cli.main import run; run()"
    done = subprocess.run([sys.executable, "-c", program, "demo", "-q"], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_demo_that_trains_twice(run, few_scenes, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "EPOCHS", 1)
    monkeypatch.setattr(demo, "MOST_CHIPS", 32)
    first = run("demo", "--train", "-q")
    model = tmp_path / "dcsh-demo" / "model.onnx"
    made = model.stat().st_mtime_ns
    assert run("demo", "--train", "-q").stdout == first.stdout
    assert model.stat().st_mtime_ns == made


def test_the_demo_asks_for_the_schema_before_it_makes_scenes(dsn, tmp_path):
    folder = tmp_path / "demo"
    result = CliRunner().invoke(app, ["demo", "-q", "--dsn", dsn, "--folder", str(folder)])
    assert result.exit_code == SchemaError.exit_code
    assert not folder.exists()

"""Errors of the command line: one line, one hint, a documented exit code."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psycopg
import pytest
import rasterio
from PIL import Image
from psycopg.conninfo import make_conninfo
from rasterio.transform import from_origin
from typer.testing import CliRunner

from dcsh_pg import errors
from dcsh_pg.archive import Archive
from dcsh_pg.cli.main import app
from dcsh_pg.database.search.chips import code_of

USAGE = errors.UsageError.exit_code
SERVER = errors.ServerError.exit_code
SCHEMA = errors.SchemaError.exit_code
PARTIAL = errors.PartialSuccess.exit_code
INPUT = errors.InputError.exit_code
MODEL = errors.ModelError.exit_code
OUTPUT = errors.OutputError.exit_code
TRAINING = errors.TrainingError.exit_code
ABSENT = errors.NotFound.exit_code

DATABASE = "dcsh_test_cli_errors"
PROGRAM = [sys.executable, "-c", "from dcsh_pg.cli.main import run; run()"]


# -- a place where things go wrong ---------------------------------------------------------------


def raster(file: Path, bands: int = 3, dtype: str = "uint8", crs: str | None = "EPSG:32633"):
    pixels = np.random.default_rng(bands).integers(0, 200, (bands, 128, 128)).astype(dtype)
    place = {"crs": crs, "transform": from_origin(5e5, 5e6, 10, 10)} if crs else {}
    shape = {"width": 128, "height": 128, "count": bands, "dtype": dtype}
    with rasterio.open(file, "w", driver="GTiff", **shape, **place) as target:
        target.write(pixels)


def pictures(folder: Path, count: int, size: int = 64):
    folder.mkdir(parents=True)
    random = np.random.default_rng(count)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (size, size, 3), np.uint8)).save(
            folder / f"{number}.png"
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory, model_file) -> Path:
    """A folder of good and bad files."""
    import onnx
    from onnx import TensorProto, helper

    folder = tmp_path_factory.mktemp("errors")
    raster(folder / "good.tif")
    raster(folder / "one.tif", bands=1)
    raster(folder / "four.tif", bands=4)
    raster(folder / "int16.tif", dtype="int16")
    raster(folder / "nocrs.tif", crs=None)
    half = (folder / "good.tif").read_bytes()
    (folder / "half.tif").write_bytes(half[: len(half) // 2])
    (folder / "zero.tif").touch()
    (folder / "zero.png").touch()
    (folder / "garbage.tif").write_bytes(b"garbage" * 100)
    (folder / "garbage.onnx").write_bytes(b"garbage" * 100)
    (folder / "file").write_text("a file, no folder")
    (folder / "trained").mkdir()
    (folder / "trained" / "hash_function.pt").touch()
    (folder / "text").mkdir()
    (folder / "text" / "notes.txt").write_text("no image")
    pictures(folder / "alone", 1)
    pictures(folder / "pictures", 12, size=24)
    for name in ("field", "water"):
        pictures(folder / "labelled" / name, 3)
    corners = [[5e5, 5e6], [5.1e5, 5e6], [5.1e5, 5.1e6], [5e5, 5e6]]
    projected = {"type": "Polygon", "coordinates": [corners]}
    (folder / "projected.geojson").write_text(json.dumps(projected))
    corners[1][0] = float("nan")
    (folder / "nan.geojson").write_text(json.dumps(projected))
    (folder / "deep.geojson").write_text('{"type":' * 100_000)

    shutil.copy(model_file, folder / "model.onnx")
    model = onnx.load(model_file)
    model.producer_version = "another"
    onnx.save(model, folder / "another.onnx")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", *zip(ends))
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "foreign.onnx")
    return folder


@pytest.fixture(scope="module")
def archives(place, embedded_admin, embedded_template):
    """A database with the archives 'fields', unlabelled, and 'kinds', labelled."""
    with psycopg.connect(embedded_admin, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {embedded_template}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATABASE_URL", make_conninfo(embedded_admin, dbname=DATABASE))
            patch.chdir(place)
            for name, source in (("fields", "good.tif"), ("kinds", "labelled")):
                made = invoke("ingest", name, source, "-m", "model.onnx", "-q")
                assert made.exit_code == 0, made.stderr
            yield
        conn.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def invoke(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def check(code: int, stdout: str, stderr: str, expected: int, *words: str) -> None:
    """Checks for one line of message, one line of hint, and nothing else."""
    assert code == expected, stderr
    assert stdout == ""
    lines = stderr.splitlines()
    assert len(lines) == 2, stderr
    assert lines[0].startswith("dcsh-pg: ") and lines[1].startswith("  hint: "), stderr
    for word in words:
        assert word in stderr


# -- the table -----------------------------------------------------------------------------------

CASES = [
    # sources
    ("ingest fields absent.tif -q", INPUT, "absent.tif"),
    ("ingest fields abs*.tif -q", INPUT, "abs*.tif"),
    ("ingest fields text -q", INPUT, "it contains 1 .txt"),
    ("ingest fields text/notes.txt -q", INPUT, "notes.txt is not an image"),
    ("ingest fields half.tif -q", INPUT, "half.tif cannot be read"),
    ("ingest fields zero.tif -q", INPUT, "zero.tif is empty"),
    ("ingest fields zero.png -q", INPUT, "zero.png is empty"),
    ("ingest fields garbage.tif -q", INPUT, "garbage.tif is not an image"),
    ("ingest fields one.tif -q", INPUT, "one.tif has 1 band, the model takes 3", "--bands 1,1,1"),
    ("ingest fields nocrs.tif -q", INPUT, "nocrs.tif", "--no-georeference"),
    ("ingest fields zero.tif zero.png -q", INPUT, "none of 2 scenes", "zero.tif"),
    ("ingest fields good.tif --sidecar absent.csv -q", INPUT, "absent.csv"),
    # models
    ("ingest new good.tif -q", USAGE, "no model is given", "--model"),
    ("ingest new good.tif -m absent.onnx -q", INPUT, "absent.onnx"),
    ("ingest new good.tif -m text -q", INPUT, "text: Is a directory"),
    ("ingest new good.tif -m garbage.onnx -q", INPUT, "garbage.onnx is not an ONNX file"),
    ("ingest new good.tif -m foreign.onnx -q", MODEL, "foreign.onnx", "not a dcsh-pg model"),
    ("ingest fields good.tif -m another.onnx -q", MODEL, "archive 'fields' holds codes of model"),
    ("model show garbage.onnx", INPUT, "garbage.onnx"),
    ("model show foreign.onnx", MODEL, "foreign.onnx"),
    # names and options of ingest
    ("ingest Fields good.tif -m model.onnx -q", USAGE, '"Fields"', "lower-case"),
    ("ingest scene good.tif -m model.onnx -q", USAGE, '"scene"', "choose another"),
    ("ingest fields good.tif --edge wrap -q", USAGE, "--edge", "'shift', 'pad', 'drop'"),
    ("ingest fields good.tif --raw-values -q", USAGE, "made without --raw-values, not with it"),
    ("ingest fields good.tif --stride 7 -q", USAGE, "made without --stride, not 7"),
    ("ingest new good.tif -m model.onnx --bands 1,2 -q", USAGE, "--bands 1,2", "takes 3"),
    ("ingest new good.tif -m model.onnx --bands red -q", USAGE, "--bands red", "3 bands"),
    ("ingest new good.tif -m model.onnx --bands 0,1,2 -q", USAGE, "--bands 0,1,2"),
    ("ingest new good.tif -m model.onnx --scale 5,1 -q", USAGE, "--scale 5.0,1.0"),
    ("ingest new good.tif -m model.onnx --min-valid 7 -q", USAGE, "--min-valid 7"),
    ("ingest new good.tif -m model.onnx --chip-size 0 -q", USAGE, "--chip-size 0"),
    ("ingest new good.tif -m model.onnx --stride 0 -q", USAGE, "--stride 0"),
    ("ingest new good.tif -m model.onnx --acquired soon -q", USAGE, "--acquired", "'soon'"),
    ("ingest fields good.tif --date-pattern soon -q", USAGE, "soon"),
    ("ingest fields good.tif --batch-size 0 -q", USAGE, "--batch-size"),
    ("ingest fields", USAGE, "SOURCE", "dcsh-pg ingest --help"),
    # search
    ("search fields", USAGE, "nothing to search for", "--image FILE"),
    ("search fields --chip 1 --at 1 2", USAGE, "--chip and --at"),
    ("search fields --chip 999", ABSENT, "no chip 999"),
    ("search fields --at 0 0", ABSENT, "longitude 0, latitude 0"),
    ("search fields --at 500 0", USAGE, "longitude 500"),
    ("search fields --at here there", USAGE, "--at"),
    ("search fields --code 0101010101010101", MODEL, "16 bits", "64"),
    ("search fields --code nonsense", USAGE, "'nonsense'"),
    ("search field --chip 1", ABSENT, "no archive 'field'", "did you mean 'fields'?"),
    ("search FIELDS --chip 1", ABSENT, "did you mean 'fields'?"),
    ("search other --chip 1", ABSENT, "archives: fields, kinds"),
    ("search fields --image absent.png", INPUT, "absent.png"),
    ("search fields --image one.tif", INPUT, "one.tif has 1 band"),
    ("search fields --image zero.png", INPUT, "zero.png is empty"),
    ("search fields --image pictures", USAGE, "12 images"),
    ("search fields --image good.tif --window 100,100,100,100", USAGE, "--window", "128 pixels"),
    ("search fields --image good.tif --window 1,2,3", USAGE, "--window: not 4 integers"),
    ("search fields --chip 1 --window 1,2,3,4", USAGE, "--window without --image"),
    ("search fields --chip 1 --area projected.geojson", USAGE, "projected.geojson", "degrees"),
    ("search fields --chip 1 --area absent.geojson", INPUT, "absent.geojson"),
    ("search fields --chip 1 --area text/notes.txt", INPUT, "notes.txt is not GeoJSON"),
    ("search fields --chip 1 --area nowhere", USAGE, "--area 'nowhere'"),
    ("search fields --chip 1 --area POLYGON((0~0,nan~0,1~1,0~0))", USAGE, "not finite"),
    ('search fields --chip 1 --area {"type":"Point","coordinates":[NaN,1]}', USAGE, "not finite"),
    ("search fields --chip 1 --area nan.geojson", INPUT, "nan.geojson", "not finite"),
    ("search fields --chip 1 --area deep.geojson", INPUT, "deep.geojson is not GeoJSON"),
    ("search fields --chip 1 --area 3,2,1,0", USAGE, "--area 3,2,1,0", "west,south"),
    ("search fields --chip 1 --since soon", USAGE, "--since", "'soon'"),
    ("search fields --chip 1 --until 2021-13", USAGE, "--until", "'2021-13'"),
    ("search fields --chip 1 --since 2022 --until 2021", USAGE, "--since 2022", "--until 2021"),
    ("search fields --chip 1 -k 0", USAGE, "-k"),
    ("search fields --chip 1 --max-distance -1", USAGE, "--max-distance"),
    ("search fields --chip 1 --format xml", USAGE, "--format xml", "geojson, geojsonseq"),
    ("search fields --chip 1 --device tpu", USAGE, "--device", "'cuda'"),
    ("search fields --chip 1 --colour red", USAGE, "--colour", "dcsh-pg search --help"),
    ("search fields --chip 1 -o hits.xml", USAGE, "hits.xml", ".geojson"),
    ("search fields --chip 1 -o file/hits.csv", OUTPUT, "file/hits.csv", "not a folder"),
    # rows that are no hits: the output is refused before the archive is looked for
    ("change other --from 2019 --to 2021 -o x.png", USAGE, "x.png: a contact sheet needs the hits"),
    ("change other --from 2019 --to 2021 -o file/x.csv", OUTPUT, "file/x.csv", "not a folder"),
    ("duplicates other -o x.png", USAGE, "x.png: a contact sheet needs the hits", ".map.png"),
    ("duplicates other -o file/x.csv", OUTPUT, "file/x.csv", "not a folder"),
    ("archive coverage other -o x.png", USAGE, "x.png: a contact sheet needs the hits"),
    ("archive coverage other -o file/x.csv", OUTPUT, "file/x.csv", "not a folder"),
    # evaluate
    ("evaluate fields -q", ABSENT, "archive 'fields' has the property 'class'"),
    ("evaluate kinds --label crop -q", ABSENT, "'crop'"),
    ("evaluate kinds --precision-at 0 -q", USAGE, "--precision-at 0"),
    ("evaluate kinds --precision-at best -q", USAGE, "--precision-at", "'best'"),
    ("evaluate kinds --queries alone -q", INPUT, "0.png has no property 'class'"),
    ("evaluate kinds --queries labelled --query-archive kinds", USAGE, "--queries"),
    ("evaluate kinds --plots file/plots -q", OUTPUT, "file/plots"),
    # archive, model, db
    ("archive show other", ABSENT, "'other'"),
    ("archive drop kinds", USAGE, "6 chips of 6 scenes", "--yes"),
    ("model save fields file/model.onnx", OUTPUT, "file/model.onnx"),
    ("model save other model2.onnx", ABSENT, "'other'"),
    ("db upgrade --spatial flat", USAGE, "--spatial", "'postgis'"),
    # train, export, demo
    ("train alone -o run -q", TRAINING, "too few images to train on: 1"),
    ("train text -o run -q", INPUT, "it contains 1 .txt"),
    ("train absent -o run -q", INPUT, "absent"),
    ("train zero.png -o run -q", INPUT, "zero.png is empty"),
    ("train one.tif -o run -q", INPUT, "one.tif has 1 band"),
    ("train pictures -o file/run -q", OUTPUT, "file/run"),
    ("train pictures -o run --bits 20 -q", USAGE, "20 bits", "multiple of 8"),
    ("train pictures -o run --method magic -q", USAGE, "'magic'", "dcsh, dsh, itq"),
    ("train pictures -o run --encoder magic -q", USAGE, "'magic'", "resnet50"),
    ("train pictures -o run --weights file -q", INPUT, "file is not a file of PyTorch weights"),
    ("train pictures -o run --epochs 0 -q", USAGE, "epochs must be at least 1, not 0"),
    ("train pictures -o run --set temperature=0 -q", USAGE, "temperature must be positive"),
    ("train pictures -o run --resume --overwrite -q", USAGE, "--resume and --overwrite"),
    ("train pictures", USAGE, "--out"),
    ("export text run.onnx -q", INPUT, "text/hash_function.pt", "dcsh-pg train"),
    ("demo --imagery absent -q", INPUT, "absent"),
    ("demo --imagery text -q", INPUT, "it contains 1 .txt"),
    ("demo --folder file -q", OUTPUT, "file"),
    # the root
    ("serach fields", USAGE, "'serach'", "'dcsh-pg search'"),
    ("--colour", USAGE, "--colour", "dcsh-pg --help"),
]


@pytest.mark.parametrize(
    ("line", "code", "words"), [(c[0], c[1], c[2:]) for c in CASES], ids=[c[0] for c in CASES]
)
def test_an_error_is_one_line_and_a_hint(archives, capfd, line, code, words):
    result = invoke(*(part.replace("~", " ") for part in line.split()))
    check(result.exit_code, result.stdout, result.stderr, code, *words)
    assert capfd.readouterr() == ("", ""), "GDAL or onnxruntime spoke"


@pytest.mark.parametrize("scene", ["four.tif", "int16.tif"])
def test_three_of_four_bands_and_sixteen_bits_are_accepted(archives, scene):
    assert invoke("ingest", "other_kinds", scene, "-m", "model.onnx", "-q").exit_code == 0
    assert invoke("archive", "drop", "other_kinds", "--yes").exit_code == 0


def test_a_raster_without_crs_is_accepted_with_no_georeference(archives):
    options = ("-m", "model.onnx", "--chip-size", "64", "--no-georeference", "-q")
    done = invoke("ingest", "nowhere", "nocrs.tif", *options)
    assert done.exit_code == 0
    hits = json.loads(invoke("search", "nowhere", "--chip", "1", "-f", "json").stdout)
    assert len(hits) == 3 and all(hit["footprint"] is None for hit in hits)


def test_a_refused_option_leaves_no_archive_behind(archives):
    assert invoke("ingest", "tidy", "good.tif", "-m", "model.onnx", "--bands", "1,2").exit_code == 2
    assert invoke("archive", "show", "tidy").exit_code == ABSENT


def test_a_first_run_that_stores_nothing_leaves_no_archive_behind(archives):
    failed = invoke("ingest", "tidy", "zero.tif", "zero.png", "-m", "model.onnx", "-q")
    check(failed.exit_code, failed.stdout, failed.stderr, INPUT, "none of 2 scenes", "zero.tif")
    assert invoke("archive", "show", "tidy").exit_code == ABSENT


def test_errors_are_deleted_when_their_scenes_are_known_or_with_clear(archives, tmp_path):
    good = (Path("good.tif")).read_bytes()
    shutil.copy("good.tif", tmp_path / "a.tif")
    for name in ("b.tif", "c.tif"):
        (tmp_path / name).touch()
    run = ("ingest", "mended", str(tmp_path), "-m", "model.onnx", "-q")
    assert invoke(*run).exit_code == PARTIAL
    shown = invoke("archive", "errors", "mended").stdout.splitlines()
    assert len(shown) == 2
    assert all(line.count(str(tmp_path)) == 1 for line in shown)
    (tmp_path / "b.tif").write_bytes(good)  # what the archive has already as a.tif
    assert invoke(*run).exit_code == PARTIAL
    [left] = json.loads(invoke("archive", "errors", "mended", "--json").stdout)
    assert left["uri"].endswith("c.tif")
    (tmp_path / "c.tif").unlink()
    assert invoke(*run).exit_code == 0
    assert invoke("archive", "errors", "mended", "--clear").exit_code == 0
    assert "has no errors" in invoke("archive", "errors", "mended").stderr
    assert invoke("archive", "drop", "mended", "--yes").exit_code == 0


def test_the_hint_for_a_raster_of_one_band_works(archives):
    refused = invoke("ingest", "grey", "one.tif", "-m", "model.onnx", "-q")
    assert "--bands 1,1,1" in refused.stderr
    done = invoke("ingest", "grey", "one.tif", "-m", "model.onnx", "-q", "--bands", "1,1,1")
    assert done.exit_code == 0, done.stderr


def test_a_bad_scene_among_good_ones_is_a_partial_success(archives, capfd):
    done = invoke("ingest", "partial", "good.tif", "zero.tif", "-m", "model.onnx", "--json", "-q")
    assert done.exit_code == PARTIAL
    report = json.loads(done.stdout)
    assert (report["stored"], report["failed"]) == (1, 1)
    assert "zero.tif is empty" in report["errors"][0]
    message, hint = done.stderr.splitlines()
    assert message == "dcsh-pg: 1 of 2 scenes failed; the others are stored"
    assert "dcsh-pg archive errors" in hint
    assert "zero.tif is empty" in invoke("archive", "errors", "partial").stdout
    assert capfd.readouterr() == ("", "")


def test_a_query_image_of_another_scale_is_reported(archives):
    small = invoke("search", "fields", "--image", "pictures/0.png", "-f", "csv")
    assert small.exit_code == 0
    assert "0.png covers 0.38 times the width of a chip of archive 'fields'" in small.stderr
    fitting = invoke("search", "fields", "--image", "good.tif", "--window", "0,0,64,64")
    assert (fitting.exit_code, fitting.stderr) == (0, "")


def test_a_search_without_similar_hits_says_so(archives):
    options = ("-m", "model.onnx", "--chip-size", "64", "--stride", "4", "-q")
    assert invoke("ingest", "many", "good.tif", *options).exit_code == 0
    code = code_of(Archive.open("many", dsn=os.environ["DATABASE_URL"]).connection, "many", 1)
    opposite = bytes(255 - byte for byte in code)
    far = invoke("search", "many", "--code", opposite.hex(), "-f", "json")
    distance = json.loads(far.stdout)[0]["distance"]
    assert f"nothing near: the first hit differs in {distance} of 64 bits, and 100.0%" in far.stderr
    assert invoke("search", "many", "--chip", "1").stderr == ""
    assert invoke("archive", "drop", "many", "--yes").exit_code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("search", "\udcff", "--chip", "1"), "'\\udcff' is not valid text"),
        (("search", "fields", "--chip", "1", "--where", "\udcff"), "--where: not text in UTF-8"),
        (("archive", "rename", "fields", "\udcff"), "'\\udcff' is not valid text"),
    ],
    ids=["name", "condition", "new name"],
)
def test_text_that_is_not_utf_8_is_refused(archives, line, message):
    result = invoke(*line)
    assert result.exit_code == USAGE
    assert message in result.stderr and result.stderr.count("hint:") == 1


def test_the_help_lists_the_choices():
    for command, choices in (
        ("search", "What to print: table, csv, geojson, geojsonseq, json."),
        ("search", "<auto|cpu|cuda>"),
        ("ingest", "<shift|pad|drop>"),
        ("train", "dcsh, dsh, itq, kulsh, lsh"),
    ):
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
        assert choices in shown.stdout


# -- servers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn", "code", "words"),
    [
        ("postgresql://ann:hush@127.0.0.1:1/maps", SERVER, "port 1: Connection refused"),
        ("host=127.0.0.1 port=1 password=hush hush", USAGE, "--dsn"),
        ("passwort=hush", USAGE, "--dsn"),
        ("service=hushed", SERVER, "service"),
    ],
)
def test_a_server_that_does_not_answer(dsn, code, words):
    result = invoke("archive", "list", "--dsn", dsn)
    check(result.exit_code, result.stdout, result.stderr, code, words)
    assert "hush" not in result.stderr.replace("hushed", "")


def test_a_wrong_password_and_an_absent_database(embedded_admin):
    for wrong, words in (
        ({"password": "hush"}, "password authentication failed"),
        ({"dbname": "hush_hush"}, 'database "hush_hush" does not exist'),
    ):
        result = invoke("archive", "list", "--dsn", make_conninfo(embedded_admin, **wrong))
        check(result.exit_code, result.stdout, result.stderr, SERVER, words)
        assert "hush" not in result.stderr.replace("hush_hush", "")


def test_a_database_without_extension_and_a_user_without_rights(dsn, place):
    role = "dcsh_test_guest"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(f"DROP ROLE IF EXISTS {role}")
        conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'hush'")
    guest = make_conninfo(dsn, user=role, password="hush")
    try:
        made = invoke("db", "upgrade", "--dsn", guest)
        check(made.exit_code, made.stdout, made.stderr, SERVER, "CREATE EXTENSION", role)
        model = str(place / "model.onnx")
        lost = invoke("ingest", "a", str(place / "good.tif"), "-m", model, "--dsn", guest)
        check(lost.exit_code, lost.stdout, lost.stderr, SCHEMA, "dcsh-pg db upgrade")
        assert "hush" not in made.stderr + lost.stderr
    finally:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(f"DROP ROLE {role}")


# -- processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "line", "extra"),
    [
        ("torch", "train pictures -o run", "dcsh-pg[train]"),
        ("torch", "export trained model2.onnx", "dcsh-pg[train]"),
        ("torch", "demo --train --folder demo", "dcsh-pg[train]"),
        ("onnx", "export trained model2.onnx", "dcsh-pg[train]"),
        ("geopandas", "search fields --chip 1 -o hits.parquet", "dcsh-pg[geo]"),
        ("matplotlib", "evaluate kinds --plots plots -q", "dcsh-pg[plot]"),
    ],
)
def test_a_missing_extra_is_named(archives, module, line, extra):
    program = f"import sys; sys.modules[{module!r}] = None\n{PROGRAM[2]}"
    quiet = ["-q"] if line.startswith("demo") else []
    done = subprocess.run(
        [sys.executable, "-c", program, *line.split(), *quiet], capture_output=True, text=True
    )
    check(done.returncode, done.stdout, done.stderr, done.returncode, module, f"'{extra}'")
    assert done.returncode in (1, OUTPUT)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("train absent -o run2", "absent"),
        ("train pictures --weights absent.pt -o run2", "absent.pt"),
        ("export absent model2.onnx", "absent"),
        ("export trained file/model2.onnx", "file/model2.onnx"),
        ("benchmark --dataset absent -o results", "absent"),
        ("benchmark --dataset labelled --weights gist=absent.pt -o results", "absent.pt"),
        ("benchmark --dataset labelled -o file/results", "file/results"),
        ("evaluate kinds --queries absent", "absent"),
    ],
)
def test_a_bad_path_is_refused_before_torch_is_loaded(archives, line, named):
    """torch alone takes seconds, and is not there to be loaded."""
    program = f"import sys; sys.modules['torch'] = None\n{PROGRAM[2]}"
    done = subprocess.run(
        [sys.executable, "-c", program, *line.split()], capture_output=True, text=True
    )
    check(done.returncode, done.stdout, done.stderr, done.returncode, named)
    assert done.returncode in (INPUT, OUTPUT)


@pytest.mark.parametrize(
    "line", ["model save fields saved.onnx", "train pictures -o full --epochs 1 --bits 16 -q"]
)
def test_a_full_disk_is_reported_and_leaves_no_partial_file(archives, place, line):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [*PROGRAM, *line.split()], capture_output=True, text=True, preexec_fn=limit
    )
    check(done.returncode, done.stdout, done.stderr, OUTPUT, "free space")
    assert not (place / "saved.onnx").exists()
    assert not list(place.glob(".saved*")) and not list(place.glob("full/*.pt"))


@pytest.mark.parametrize("line", ["search fields --chip 1 -k 9", "archive list", "--help"])
def test_a_full_disk_behind_stdout_is_reported(archives, line):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, *line.split()], stdout=full, stderr=subprocess.PIPE, text=True
        )
    check(done.returncode, "", done.stderr, OUTPUT, "No space left on device", "free space")


def test_a_map_on_a_full_disk_fails_with_one_line(archives, place):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run(
        [*PROGRAM, "search", "fields", "--chip", "1", "-o", "hits.map.pdf"],
        capture_output=True, text=True, preexec_fn=limit,
    )  # fmt: skip
    check(done.returncode, done.stdout, done.stderr, OUTPUT, "hits.map.pdf", "free space")
    assert not (place / "hits.map.pdf").exists()


def test_a_closed_stream_is_not_an_error(archives):
    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *PROGRAM, "archive", "list"])
    assert done.returncode == 0


def test_control_characters_in_names_are_escaped(archives, place, tmp_path):
    """Neither an error nor an answer writes to the terminal what a name asks it to do."""
    odd = "clear\x1b[2J\nnew\u202eline"
    refused = invoke("ingest", "fields", odd + ".tif", "-q")
    check(
        refused.exit_code, refused.stdout, refused.stderr, INPUT, "clear\\x1b[2J\\nnew\\u202eline"
    )
    shutil.copy(place / "good.tif", tmp_path / f"{odd}.tif")
    (tmp_path / f"{odd}-2.tif").touch()
    done = invoke("ingest", "odd", str(tmp_path), "-m", "model.onnx")
    assert done.exit_code == PARTIAL
    shown = [
        done,
        invoke("search", "odd", "--chip", "1", "-k", "3"),
        invoke("archive", "errors", "odd"),
    ]
    for result in shown:
        text = result.stdout + result.stderr
        assert "clear\\x1b[2J" in text, text
        assert not set("\x1b\u202e") & set(text)
    assert invoke("archive", "drop", "odd", "--yes").exit_code == 0


def interrupted(line: str, is_underway) -> tuple[int, str, str]:
    """Runs a command and presses Ctrl-C once it is under way."""
    process = subprocess.Popen(
        [*PROGRAM, *line.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Tests that a shell runs in the background inherit that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    said = ""
    while process.poll() is None and not is_underway(said):
        if "\n" not in said:
            said += process.stderr.readline()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=60)
    return process.returncode, out, said + rest


def test_ctrl_c_stops_an_ingest_that_can_be_rerun(archives, scenes):
    line = f"ingest stopped {scenes} -m model.onnx --stride 20"
    code, out, said = interrupted(f"{line} -v", lambda said: "hashing" in said)
    assert (code, out) == (errors.INTERRUPTED, "")
    assert said.splitlines()[-1].startswith("dcsh-pg: interrupted")
    assert "Traceback" not in said
    assert invoke(*line.split(), "-q").exit_code == 0
    assert json.loads(invoke("archive", "show", "stopped", "--json").stdout)["scenes"] == 4


def test_ctrl_c_stops_a_training_that_can_be_resumed(archives, place):
    run = place / "stopped"
    line = f"train pictures -o {run} --epochs 12 --bits 16 --batch-size 4 --device cpu"
    code, out, said = interrupted(f"{line} -v", lambda _: (run / "checkpoint.pt").exists())
    assert (code, out) == (errors.INTERRUPTED, "")
    assert said.splitlines()[-1].startswith("dcsh-pg: interrupted")
    assert "Traceback" not in said
    assert not (run / "hash_function.pt").exists()
    assert invoke(*line.split(), "--resume", "-q").exit_code == 0
    assert (run / "hash_function.pt").exists()

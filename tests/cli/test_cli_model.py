import json
import sys

import pytest
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.database.archives import registry
from dcsh_pg.database.server.connect import connect
from dcsh_pg.hasher import Hasher
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model import hash_function as hash_functions

runner = CliRunner()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "ponds"
    folder.mkdir()
    encoder = Encoder("small")
    head = MLPHead(encoder.dim, 32)
    training = {
        "chip_size": 48,
        "resolution": 0.6,
        "created": "2020-01-01T00:00:00+00:00",
        "options": {"epochs": 3},
    }
    function = hash_functions.HashFunction(encoder, head, method="itq")
    hash_functions.save(folder / "hash_function.pt", function, training)
    return folder


@pytest.fixture(scope="module")
def model(run, tmp_path_factory):
    file = tmp_path_factory.mktemp("models") / "ponds.onnx"
    done = runner.invoke(app, ["export", str(run), str(file)])
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "bits differ from PyTorch" in done.stderr
    assert f"dcsh-pg ingest ARCHIVE SOURCE --model {file}" in done.stderr
    return file


def test_show(model):
    done = runner.invoke(app, ["model", "show", str(model)])
    assert done.exit_code == 0 and done.stderr == ""
    rows = {line[:10].strip(): line[11:] for line in done.stdout.splitlines()}
    assert rows["name"] == "ponds" and rows["method"] == "itq" and rows["bits"] == "32"
    assert rows["chips"] == "48 x 48 pixels, 0.6 m per pixel"
    assert rows["encoder"] == "small, 64 x 64, float32"
    assert rows["sha256"] == Hasher(model).sha256
    assert "options.epochs: 3" in done.stdout
    assert "of 768 bits differ from PyTorch on 24 images" in rows["parity"]


def test_show_as_json(model):
    done = runner.invoke(app, ["model", "show", str(model), "--json"])
    shown = json.loads(done.stdout)
    assert shown["sha256"] == Hasher(model).sha256
    assert shown["file_size"] == model.stat().st_size
    assert (shown["name"], shown["bits"], shown["training"]["chip_size"]) == ("ponds", 32, 48)


def test_name_and_float16(run, tmp_path):
    file = tmp_path / "m.onnx"
    done = runner.invoke(app, ["export", str(run), str(file), "--name", "lakes", "--float16"])
    assert done.exit_code == 0
    card = Hasher(file).card
    assert (card.name, card.precision) == ("lakes", "float16")


def test_save_gives_back_the_file_of_an_archive(model, database, tmp_path):
    with connect(database) as conn:
        sha256 = registry.store_model(conn, Hasher(model).card, model.read_bytes())
        registry.create_archive(conn, "ponds", sha256, {})
    file = tmp_path / "saved.onnx"
    done = runner.invoke(app, ["model", "save", "ponds", str(file), "--dsn", database])
    assert done.exit_code == 0, done.output
    assert file.read_bytes() == model.read_bytes()
    done = runner.invoke(app, ["model", "save", "pond", str(file), "--dsn", database])
    assert done.exit_code == 10 and "did you mean 'ponds'?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["model", "show", "gone.onnx"], 6, "no such model file: gone.onnx"),
        (["model", "show", "text.onnx"], 6, "text.onnx is not an ONNX file"),
        (["export", "gone", "m.onnx"], 6, "no hash function at gone/hash_function.pt"),
        (["export", "damaged", "m.onnx"], 7, "is not a hash function of dcsh-pg"),
    ],
)
def test_errors(tmp_path, monkeypatch, arguments, exit_code, message):
    (tmp_path / "text.onnx").write_text("not a model")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "hash_function.pt").write_bytes(b"PK\x03\x04 and no more")
    monkeypatch.chdir(tmp_path)
    done = runner.invoke(app, arguments)
    assert done.exit_code == exit_code
    assert message in done.stderr and "hint: " in done.stderr and done.stdout == ""


def test_an_output_that_cannot_be_written(run, tmp_path):
    done = runner.invoke(app, ["export", str(run), str(tmp_path)])
    assert done.exit_code == 8 and f"cannot write {tmp_path}" in done.stderr


def test_export_without_torch_reports_what_to_install(monkeypatch, run, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [n for n in sys.modules if n.startswith("dcsh_pg.export")]:
        monkeypatch.delitem(sys.modules, name)
    done = runner.invoke(app, ["export", str(run), str(tmp_path / "m.onnx")])
    assert done.exit_code == 1
    assert "cannot export: torch is not installed" in done.stderr
    assert "pip install 'dcsh-pg[train]'" in done.stderr

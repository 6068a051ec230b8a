import numpy as np
from PIL import Image
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.errors import InputError, PartialSuccess, UsageError


def run(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def pictures(folder, count=12):
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        pixels = random.integers(0, 256, (24, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_train_writes_a_run_and_says_what_is_next(tmp_path):
    options = ("--bits", 16, "--epochs", 5, "--batch-size", 4, "--device", "cpu")
    result = run(pictures(tmp_path / "in"), "--out", tmp_path / "run", *options)
    assert result.exit_code == 0, result.output
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert written == {"hash_function.pt", "log.jsonl", "checkpoint.pt"}
    assert "learned from 12 chips" in result.stderr
    assert f"next: dcsh-pg export {tmp_path / 'run'} model.onnx" in result.stderr
    assert result.stdout == ""


def test_a_scene_that_cannot_be_read_is_a_partial_success(tmp_path):
    images = pictures(tmp_path / "in", 24)
    (images / "5.png").write_bytes(b"no picture")
    (images / "7.png").write_bytes((images / "7.png").read_bytes()[:300])
    options = ("--method", "itq", "--encoder", "gist", "--bits", 16, "--device", "cpu", "--quiet")
    result = run(images, "--out", tmp_path / "run", *options)
    assert result.exit_code == PartialSuccess.exit_code, result.output
    assert "2 of 24 scenes could not be read; the first: " in result.stderr
    assert (tmp_path / "run" / "hash_function.pt").exists()


def test_senseless_options_and_missing_sources_are_reported(tmp_path):
    images = pictures(tmp_path / "in", 2)
    for arguments, code, words in (
        ((images, "--bits", 60), UsageError.exit_code, "60 bits"),
        ((images, "--encoder", "alexnet"), UsageError.exit_code, "alexnet"),
        ((images, "--method", "itq", "--epochs", 3), UsageError.exit_code, "no option epochs"),
        ((images, "--limit", "few"), UsageError.exit_code, "--limit few is invalid"),
        ((images, "--limit", 1), UsageError.exit_code, "--limit 1 is invalid"),
        ((images, "--weights", tmp_path / "w.pth"), InputError.exit_code, "w.pth"),
        ((tmp_path / "absent",), InputError.exit_code, "absent"),
        ((images, "--mask", "SCL"), UsageError.exit_code, "NAME=VALUES"),
        ((images, "--mask", "SCL=a"), UsageError.exit_code, "NAME=VALUES"),
        ((images, "--mask", "SCL:99"), UsageError.exit_code, "0 to 31"),
        ((images, "--bands", "B04,0"), UsageError.exit_code, "counted from 1"),
        ((images, "--preset", "spot"), UsageError.exit_code, "unknown preset 'spot'"),
        ((images, "--resolution", "0"), UsageError.exit_code, "--resolution 0"),
        ((images, "--dtype", "int64"), UsageError.exit_code, "--dtype 'int64'"),
        ((images, "--stac", "x.json"), UsageError.exit_code, "cannot be combined"),
        (("--stac", "x.json"), UsageError.exit_code, "--dtype or --preset"),
    ):
        result = run(*arguments, "--out", tmp_path / "run", "--quiet")
        assert (result.exit_code, words in result.stderr) == (code, True), result.stderr

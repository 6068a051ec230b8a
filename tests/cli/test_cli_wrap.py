"""``dcsh-pg wrap`` and ``train --encoder onnx:FILE``."""

import numpy as np
import onnx_encoders as made
from PIL import Image
from test_cli_train import pictures
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.errors import InputError, ModelError, PartialSuccess, UsageError
from dcsh_pg.hasher import Hasher
from dcsh_pg.plugins import ENCODERS


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "300"})


def test_wrap_gives_the_file_of_train_and_export(tmp_path):
    images = pictures(tmp_path / "in", 24)
    encoder = made.written(tmp_path, made.model(made.means_nodes()))
    common = ("--bits", 16, "--cache", tmp_path / "cache", "--device", "cpu", "--quiet")
    wrapped = run("wrap", encoder, "--archive-sample", images, "-o", tmp_path / "w.onnx", *common)
    assert wrapped.exit_code == 0, wrapped.output
    options = ("--encoder", f"onnx:{encoder}", "--method", "itq")
    assert run("train", images, "--out", tmp_path / "run", *options, *common).exit_code == 0
    assert run("export", tmp_path / "run", tmp_path / "t.onnx", "--quiet").exit_code == 0
    one, other = (Hasher(tmp_path / name, device="cpu") for name in ("w.onnx", "t.onnx"))
    assert one.card.training["encoder_weights"] == other.card.training["encoder_weights"]
    assert one.card.name == "w" and one.card.encoder == "onnx:tiny.onnx"
    pixels = np.stack([np.asarray(Image.open(file)) for file in sorted(images.iterdir())])
    assert (one.hash(pixels) == other.hash(pixels)).all()
    shown = run("model", "show", tmp_path / "w.onnx")
    assert shown.exit_code == 0 and "onnx:tiny.onnx, 16 x 16" in shown.output


def test_wrap_says_what_is_next_and_what_failed(tmp_path):
    images = pictures(tmp_path / "in", 24)
    (images / "7.png").write_bytes(b"no picture")
    encoder = made.written(tmp_path, made.model(made.means_nodes()))
    result = run(
        "wrap", encoder, "--archive-sample", images, "-o", tmp_path / "w.onnx", "--bits", 16
    )
    assert result.exit_code == PartialSuccess.exit_code, result.output
    assert f"next: dcsh-pg ingest ARCHIVE SOURCE --model {tmp_path / 'w.onnx'}" in result.stderr


def test_errors_come_before_imagery_is_read(tmp_path):
    encoder = made.written(tmp_path, made.model(made.means_nodes()), card=None)
    options = ("--archive-sample", tmp_path / "absent", "-o", tmp_path / "w.onnx", "--quiet")
    for given, error, words in (
        ((tmp_path / "absent.onnx",), InputError, "no such encoder file"),
        ((encoder,), InputError, "lacks mean"),
        ((encoder, "--encoder-set", "mean"), UsageError, "has no value"),
        ((encoder, "--encoder-set", "mean=1,1,1", "--encoder-set", "std=1,1"), InputError, "std 2"),
        (
            (encoder, "--encoder-set", "mean=0,0", "--encoder-set", "std=1,1"),
            ModelError,
            "takes 3 bands",
        ),
    ):
        result = run("wrap", *given, *options)
        assert (result.exit_code, words in result.stderr) == (error.exit_code, True), result.output


def test_a_card_needs_an_onnx_encoder_which_is_not_trained(tmp_path):
    images = pictures(tmp_path / "in")
    result = run("train", images, "--out", tmp_path / "r", "--encoder-set", "mean=1")
    assert result.exit_code == UsageError.exit_code and "ONNX file" in result.stderr
    encoder = made.written(tmp_path, made.model(made.means_nodes()))
    result = run(
        "train", images, "--out", tmp_path / "r", "--encoder", f"onnx:{encoder}", "--fine-tune"
    )
    assert result.exit_code == UsageError.exit_code and "cannot be trained" in result.stderr


def test_the_encoder_of_embeddings_is_not_listed():
    assert "vector" in ENCODERS.builtin and "vector" not in ENCODERS.names()
    for command in ("train", "benchmark"):
        shown = run(command, "--help").output
        assert "onnx:FILE" in shown and "vgg16-fc7, onnx:FILE" in shown
    unknown = run("benchmark", "--dataset", "ucmd", "--out", "x", "--encoder", "alexnet")
    assert "vector" not in unknown.output

"""Runs the samples of docs/model-file.md."""

import re
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from dcsh_pg.hasher import Hasher

PAGE = Path(__file__).parents[2] / "docs" / "model-file.md"
WITHOUT_DCSH_PG, DEEPNESS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


def test_the_sample_without_dcsh_pg(model_file, tmp_path, monkeypatch, capsys):
    shutil.copy(model_file, tmp_path / "naip.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "pond.png")
    monkeypatch.chdir(tmp_path)
    exec(WITHOUT_DCSH_PG, {})
    code = Hasher(model_file, device="cpu").hash(pixels[None])[0]
    assert capsys.readouterr().out.strip() == code.tobytes().hex()


def test_the_copy_for_deepness_gives_the_same_z(model_file, tmp_path, monkeypatch):
    shutil.copy(model_file, tmp_path / "naip.onnx")
    monkeypatch.chdir(tmp_path)
    exec(DEEPNESS, {})
    copy = onnxruntime.InferenceSession("naip-deepness.onnx", providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    tiles = np.float32(images * (1.0 / 255.0)).transpose(0, 3, 1, 2)
    (z,) = copy.run(None, {"tiles": tiles})
    np.testing.assert_array_equal(z, Hasher(model_file, device="cpu").hash_real(images)[1])
    assert copy.get_modelmeta().custom_metadata_map["model_type"] == '"Recognition"'
    assert [output.shape for output in copy.get_outputs()] == [["N", 64]]

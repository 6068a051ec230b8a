"""Encoders whose graphs are unlike a plain convolutional network's."""

import numpy as np
import pytest
import torch

from dcsh_pg import codes
from dcsh_pg.export import export
from dcsh_pg.export.graph import CodeGraph
from dcsh_pg.hasher import Hasher
from dcsh_pg.learning.encoders import Encoder, gist
from dcsh_pg.learning.heads import MLPHead, TopicHead
from dcsh_pg.learning.model.hash_function import HashFunction


def plain_tones(height, width):
    """Pictures of one colour each, black, white and others: uint8 (8, height, width, 3)."""
    colours = np.random.default_rng(0).integers(0, 256, (8, 1, 1, 3), dtype=np.uint8)
    colours[:3] = 0, 255, 128
    return np.tile(colours, (1, height, width, 1))


@pytest.mark.parametrize("name", ["gist", "dinov2_vits14"])
def test_file_gives_the_codes_of_the_network(tmp_path, name, monkeypatch):
    """Of plain tones too: resized, they are plain no longer by a rounding, which scaling features
    to unit length must not bring up."""
    if name.startswith("dinov2"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    monkeypatch.setattr(gist, "SCALES", 1)  # each further one repeats the operators of the first
    encoder = Encoder(name)
    if name == "gist":
        encoder.dim = gist.ORIENTATIONS * gist.GRID**2
    function = HashFunction(
        encoder, MLPHead(encoder.dim, 16, l2_normalize=True), method="itq"
    ).eval()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 60, 80, 3), dtype=np.uint8)
    checked = [images, plain_tones(64, 64), plain_tones(69, 47), plain_tones(200, 300)]
    export(function, tmp_path / "m.onnx", name=name, chip_size=64, parity_images=checked)
    hasher = Hasher(tmp_path / "m.onnx", device="cpu", threads=1)
    with torch.no_grad():
        _, z = CodeGraph(function)(torch.from_numpy(images))
    expected = codes.from_real(z.numpy())
    assert (hasher.hash(images) == expected).all()
    assert (hasher.hash(images[:1]) == expected[:1]).all()


def test_images_without_features_have_a_code_by_topics(tmp_path):
    torch.manual_seed(0)
    encoder = Encoder("small")
    head = TopicHead(encoder.dim, 16, groups=2, steps=2)
    with torch.no_grad():
        head.words.uniform_(0.5, 1).div_(head.words.sum(dim=2, keepdim=True))
        head.thresholds.uniform_(-0.5, 0.5)
        for parameter in encoder.parameters():
            parameter.zero_()
    function = HashFunction(encoder, head, method="plsh").eval()
    export(function, tmp_path / "m.onnx", name="m", chip_size=64)
    _, z = Hasher(tmp_path / "m.onnx", device="cpu").hash_real(plain_tones(40, 40))
    assert np.allclose(z, -head.thresholds.numpy())

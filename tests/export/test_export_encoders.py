"""Encoders whose graphs are unlike a plain convolutional network's."""

import numpy as np
import pytest
import torch

from dcsh_pg import codes
from dcsh_pg.export import export
from dcsh_pg.export.graph import CodeGraph
from dcsh_pg.hasher import Hasher
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.hash_function import HashFunction
from dcsh_pg.learning.heads import MLPHead


@pytest.mark.parametrize("name", ["gist", "dinov2_vits14"])
def test_file_gives_the_codes_of_the_network(tmp_path, name):
    if name.startswith("dinov2"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    encoder = Encoder(name)
    function = HashFunction(
        encoder, MLPHead(encoder.dim, 16, hidden=(), batch_norm=False), method="dcsh"
    ).eval()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 60, 80, 3), dtype=np.uint8)
    export(function, tmp_path / "m.onnx", name=name, chip_size=64, parity_images=[images])
    hasher = Hasher(tmp_path / "m.onnx", device="cpu", threads=1)
    with torch.no_grad():
        _, z = CodeGraph(function)(torch.from_numpy(images))
    expected = codes.from_real(z.numpy())
    assert (hasher.hash(images) == expected).all()
    assert (hasher.hash(images[:1]) == expected[:1]).all()

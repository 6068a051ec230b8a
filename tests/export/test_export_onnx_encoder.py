"""An encoder's ONNX file and a head, joined in one file."""

import numpy as np
import onnx
import onnx_encoders as made
import pytest
import torch
from onnx import helper

from dcsh_pg import codes
from dcsh_pg.errors import UsageError
from dcsh_pg.export import export
from dcsh_pg.export.graph import CodeGraph
from dcsh_pg.hasher import Hasher
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model import hash_function as files
from dcsh_pg.learning.model.hash_function import HashFunction


def hash_function(folder, *, orientations=1, opset=17):
    nodes = made.means_nodes()
    if opset >= 18:
        nodes[2] = helper.make_node("ReduceMean", ["sums", "space"], ["means"], keepdims=0)
    path = made.written(folder, made.model(nodes, opset=opset))
    torch.manual_seed(0)
    encoder = Encoder(f"onnx:{path}")
    head = MLPHead(encoder.dim, 16)
    return HashFunction(encoder, head, method="itq", orientations=orientations).eval()


@pytest.mark.parametrize(("orientations", "opset"), [(1, 17), (4, 17), (1, 21)])
def test_the_file_is_complete_and_gives_the_codes_of_the_parts(tmp_path, orientations, opset):
    function = hash_function(tmp_path, orientations=orientations, opset=opset)
    card = export(function, tmp_path / "m.onnx", name="m", chip_size=16)
    assert card.encoder == "onnx:tiny.onnx" and card.parity["differing"] == 0
    for file in tmp_path.glob("tiny*"):
        file.unlink()
    images = np.random.default_rng(2).integers(0, 256, (7, 23, 31, 3), dtype=np.uint8)
    with torch.no_grad():
        _, z = CodeGraph(function)(torch.from_numpy(images))
    packed, found = Hasher(tmp_path / "m.onnx", device="cpu").hash_real(images)
    assert np.allclose(found, z.numpy(), rtol=1e-4, atol=1e-4)
    assert (packed == codes.from_real(z.numpy())).all()
    model = onnx.load(tmp_path / "m.onnx")
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert len(model.opset_import) == 1


def test_a_saved_hash_function_contains_the_encoder(tmp_path):
    function = hash_function(tmp_path)
    files.save(tmp_path / "f.pt", function, {"chip_size": 16})
    for file in tmp_path.glob("tiny*"):
        file.unlink()
    loaded, _ = files.load(tmp_path / "f.pt")
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(images), function(images))
    assert (loaded.encoder.mean, loaded.encoder.name) == (function.encoder.mean, "onnx:tiny.onnx")


def test_half_precision_is_refused(tmp_path):
    with pytest.raises(UsageError, match="keeps its own precision"):
        export(hash_function(tmp_path), tmp_path / "m.onnx", name="m", chip_size=16, float16=True)

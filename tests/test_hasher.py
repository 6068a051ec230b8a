"""The runtime side of a model file, on small graphs written with onnx alone."""

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dcsh_pg.inference
from dcsh_pg import codes
from dcsh_pg.card import ModelCard
from dcsh_pg.errors import DcshError, InputError, ModelError, UsageError
from dcsh_pg.hasher import Hasher

CARD = ModelCard(
    name="means",
    method="itq",
    bits=16,
    bands=2,
    chip_size=8,
    input_size=8,
    mean=(0.5, 0.5),
    std=(0.25, 0.25),
    encoder="none",
)


def means_model(card=CARD, bits=16):
    """z_k = (k + 1) * (mean of band 0 - mean of band 1); its code is all ones or all zeros."""
    weights = np.stack([np.arange(1, bits + 1), -np.arange(1, bits + 1)]).astype(np.float32)
    constants = {
        "weights": weights,
        "zero": np.zeros((), np.float32),
        "space": np.array([1, 2], np.int64),
        "bit_values": np.array([[128, 64, 32, 16, 8, 4, 2, 1]], np.int32),
        "last": np.array([2], np.int64),
        "bytes": np.array([-1, bits // 8, 8], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "space"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["z"]),
        helper.make_node("GreaterOrEqual", ["z", "zero"], ["signs"]),
        helper.make_node("Cast", ["signs"], ["ones"], to=TensorProto.INT32),
        helper.make_node("Reshape", ["ones", "bytes"], ["bits"]),
        helper.make_node("Mul", ["bits", "bit_values"], ["values"]),
        helper.make_node("ReduceSum", ["values", "last"], ["sums"], keepdims=0),
        helper.make_node("Cast", ["sums"], ["code"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 2])],
        [
            helper.make_tensor_value_info("code", TensorProto.UINT8, ["N", bits // 8]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", bits]),
        ],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if card is not None:
        helper.set_model_props(model, card.to_metadata())
    return model.SerializeToString()


@pytest.fixture(scope="module")
def hasher():
    return Hasher(means_model(), device="cpu", threads=1)


def images(n=3, height=5, width=4):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 2), dtype=np.uint8)


def test_codes_and_real_values(hasher):
    batch = images()
    packed, z = hasher.hash_real(batch)
    difference = batch.mean(axis=(1, 2)) @ [1, -1]
    np.testing.assert_allclose(z, difference[:, None] * np.arange(1, 17), rtol=1e-4)
    assert np.array_equal(packed, codes.from_real(z))
    assert np.array_equal(hasher.hash(batch), packed)


def test_identity_is_the_hash_of_the_file(tmp_path):
    content = means_model()
    (tmp_path / "m.onnx").write_bytes(content)
    for source in (content, tmp_path / "m.onnx", str(tmp_path / "m.onnx")):
        hasher = Hasher(source)
        assert hasher.sha256 == hashlib.sha256(content).hexdigest()
        assert hasher.card == CARD
        assert hasher.provider in ("cpu", "cuda")


def test_no_images_give_no_codes(hasher):
    assert hasher.hash(images(0)).shape == (0, 2)
    packed, z = hasher.hash_real(images(0))
    assert packed.shape == (0, 2) and z.shape == (0, 16)


def test_many_orientations_go_through_in_parts(hasher):
    """The codes are those of one run, and no run gets more than 64 orientations."""
    card = dataclasses.replace(CARD, orientations=8)
    parted = Hasher(means_model(card))
    images = np.random.default_rng(0).integers(0, 256, (19, 8, 8, 2), np.uint8)
    sizes, run = [], parted._session.run

    class Watched:
        def run(self, outputs, feed, _):
            sizes.append(len(feed["image"]))
            return run(outputs, feed)

    parted._session = Watched()
    assert (parted.hash(images) == hasher.hash(images)).all()
    together = zip(parted.hash_real(images), hasher.hash_real(images), strict=True)
    assert all((found == wanted).all() for found, wanted in together)
    assert sizes == [8, 8, 3] * 2


def test_views_that_are_not_contiguous(hasher):
    batch = images(4, 6, 6)
    assert np.array_equal(hasher.hash(batch[::2, ::-1]), hasher.hash(batch[::2, ::-1].copy()))


@pytest.mark.parametrize(
    "batch",
    [
        images().astype(np.float32),
        images().astype(np.int16),
        images()[0],
        images()[None],
        images(3, 0, 4),
    ],
    ids=["float32", "int16", "one image", "five axes", "no pixels"],
)
def test_what_is_not_a_batch_of_images(hasher, batch):
    with pytest.raises(ModelError, match="cannot be hashed"):
        hasher.hash(batch)


def test_other_bands_than_the_model_takes(hasher):
    with pytest.raises(ModelError, match="means takes images of 2 bands, these have 3"):
        hasher.hash(np.zeros((1, 8, 8, 3), np.uint8))


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"no such model file: .*gone\.onnx"):
        Hasher(tmp_path / "gone.onnx")


def test_a_folder(tmp_path):
    with pytest.raises(InputError, match="cannot read the model file"):
        Hasher(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"no ONNX at all", b"\x89PNG\r\n\x1a\n" * 20, means_model()[:400]],
    ids=["empty", "text", "picture", "truncated"],
)
def test_a_file_that_is_not_onnx_or_damaged(tmp_path, capfd, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"m\.onnx is not an ONNX file, or is damaged") as raised:
        Hasher(tmp_path / "m.onnx")
    assert "\n" not in raised.value.message and raised.value.hint
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_a_damaged_file_is_reported_before_a_missing_device(device):
    with pytest.raises(InputError, match="the model is not an ONNX file"):
        Hasher(b"no ONNX at all", device=device)


def test_an_onnx_file_of_others():
    with pytest.raises(ModelError, match="is an ONNX file, but not a dcsh-pg model"):
        Hasher(means_model(card=None))


def test_a_card_that_does_not_fit_the_graph():
    with pytest.raises(ModelError, match=r"inputs or outputs of .* do not match its card"):
        Hasher(means_model(bits=24))


def test_an_unknown_device():
    with pytest.raises(UsageError, match="unknown device 'tpu'"):
        Hasher(means_model(), device="tpu")


def cuda_is_usable():
    return Hasher(means_model(), device="auto").provider == "cuda"


@pytest.mark.skipif(cuda_is_usable(), reason="CUDA is usable here")
def test_cuda_where_it_is_not_usable_is_an_error_with_a_hint():
    with pytest.raises(UsageError, match="CUDA is not usable here: ") as raised:
        Hasher(means_model(), device="cuda")
    assert "--device cpu" in raised.value.hint


@pytest.mark.skipif(cuda_is_usable(), reason="CUDA is usable here")
def test_a_driver_without_cuda_libraries_is_skipped_in_silence(monkeypatch, capfd):
    monkeypatch.setattr(dcsh_pg.inference, "has_cuda_device", lambda: True)
    assert Hasher(means_model(), device="auto").provider == "cpu"
    assert capfd.readouterr() == ("", "")
    with pytest.raises(DcshError, match="CUDA is not usable here: "):
        Hasher(means_model(), device="cuda")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not cuda_is_usable(), reason="needs a GPU that onnxruntime can use")
def test_cuda_gives_the_codes_of_the_cpu(hasher):
    batch = images(50, 30, 30)
    assert np.array_equal(Hasher(means_model(), device="cuda").hash(batch), hasher.hash(batch))


def test_hashing_prints_nothing_and_loads_no_torch(tmp_path):
    (tmp_path / "m.onnx").write_bytes(means_model())
    code = (
        "import sys, numpy\n"
        "from dcsh_pg import Hasher\n"
        "Hasher(sys.argv[1]).hash(numpy.zeros((2, 9, 9, 2), numpy.uint8))\n"
        "assert not {'torch', 'onnx', 'onnxscript'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "m.onnx"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

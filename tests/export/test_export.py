import stat

import numpy as np
import onnx
import pytest
import torch

from dcsh_pg import codes
from dcsh_pg.errors import InputError, ModelError, OutputError
from dcsh_pg.export import export, export_run, parity
from dcsh_pg.export.graph import CodeGraph
from dcsh_pg.hasher import Hasher
from dcsh_pg.learning.model import hash_function as hash_functions

CREATED = "2020-01-01T00:00:00+00:00"


def images(n, height, width, bands=3, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (n, height, width, bands), dtype=np.uint8)
    ramp = np.linspace(0, 255, width, dtype=np.uint8)[None, None, :, None]
    noise[::2] = noise[::2] // 4 + ramp // 2
    return noise


@pytest.mark.parametrize(
    ("n", "height", "width"),
    [(1, 64, 64), (1, 1, 1), (3, 64, 64), (2, 31, 97), (5, 200, 33), (2, 256, 256), (9, 7, 64)],
)
def test_any_size_gives_the_bits_of_torch(function, model_file, n, height, width):
    batch = images(n, height, width)
    with torch.inference_mode():
        z = function(function.preprocess()(torch.from_numpy(batch))).numpy()
    packed, found = Hasher(model_file, device="cpu").hash_real(batch)
    assert packed.shape == (n, 8) and packed.dtype == np.uint8
    assert found.shape == (n, 64) and found.dtype == np.float32
    np.testing.assert_allclose(found, z, atol=1e-4 * np.sqrt(np.mean(z**2)))
    certain = np.abs(z) > 1e-4 * np.sqrt(np.mean(z**2))
    assert np.array_equal(codes.unpack(packed)[certain], (z >= 0)[certain])


def test_packing_is_that_of_codes(function):
    z = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    z[::3, ::5] = 0.0
    z[1::3, ::7] = -0.0
    packed = CodeGraph(function).pack(torch.from_numpy(z)).numpy()
    assert np.array_equal(packed, codes.from_real(z))


@pytest.mark.parametrize(("bands", "bits"), [(1, 16), (13, 128)])
def test_other_bands_and_lengths(make, tmp_path, bands, bits):
    card = export(make(bits=bits, bands=bands), tmp_path / "m.onnx", name="m", chip_size=40)
    assert (card.bands, card.bits) == (bands, bits)
    assert Hasher(tmp_path / "m.onnx", device="cpu").hash(images(2, 20, 30, bands)).shape == (
        2,
        bits // 8,
    )


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "resnet18"},
        {"orientations": 4},
        {"hidden": (), "batch_norm": False, "l2_normalize": True},
    ],
    ids=["resnet18", "orientations", "l2_normalize"],
)
def test_every_kind_of_hash_function_exports(make, tmp_path, options):
    card = export(make(**options), tmp_path / "m.onnx", name="m", chip_size=64)
    assert card.parity["differing"] <= card.parity["near_zero"]
    model = onnx.load(tmp_path / "m.onnx")
    assert not {"Gather", "Loop", "If"} & {node.op_type for node in model.graph.node}


def test_a_code_does_not_depend_on_its_batch(model_file):
    batch = images(11, 64, 64)
    hasher = Hasher(model_file, device="cpu")
    whole, z = hasher.hash_real(batch)
    parts = [hasher.hash_real(part) for part in (batch[:1], batch[1:4], batch[4:])]
    np.testing.assert_allclose(z, np.concatenate([p[1] for p in parts]), atol=1e-5)
    assert np.array_equal(whole, np.concatenate([p[0] for p in parts]))


def test_the_same_weights_give_the_same_file(function, model_file, tmp_path):
    export(function, tmp_path / "again.onnx", name="toy", chip_size=64, created=CREATED)
    assert (tmp_path / "again.onnx").read_bytes() == model_file.read_bytes()


def test_the_file_reports_nothing_of_the_machine_that_made_it(model_file):
    content = model_file.read_bytes()
    assert b".py" not in content and b"site-packages" not in content


def test_the_file_is_for_all_to_read(model_file):
    assert stat.S_IMODE(model_file.stat().st_mode) & 0o044 == 0o044


def test_the_card(make, tmp_path):
    written = export(
        make("small", 32),
        tmp_path / "m.onnx",
        name="ponds",
        chip_size=48,
        resolution=0.6,
        training={"images": 7},
    )
    read = Hasher(tmp_path / "m.onnx").card
    assert read == written
    assert (read.name, read.method, read.bits, read.chip_size) == ("ponds", "dcsh", 32, 48)
    assert (read.encoder, read.input_size, read.resolution) == ("small", 64, 0.6)
    assert read.training == {"images": 7} and "torch" in read.versions
    assert read.parity["bits"] == 32 * read.parity["images"] > 0
    metadata = {p.key: p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert metadata["resolution"] == "60.0" and metadata["tiles_size"] == "48"


def test_float16_keeps_the_bits_that_are_not_near_zero(function, model_file, tmp_path):
    half = export(function, tmp_path / "half.onnx", name="m", chip_size=64, float16=True)
    assert (Hasher(model_file).card.precision, half.precision) == ("float32", "float16")
    assert (tmp_path / "half.onnx").stat().st_size < 0.8 * model_file.stat().st_size
    assert half.parity["differing"] <= half.parity["near_zero"] < 0.05 * half.parity["bits"]


def test_other_codes_than_those_of_torch_are_refused(make, model_file):
    with pytest.raises(ModelError, match="bits of toy differ between PyTorch and onnxruntime"):
        parity.check(Hasher(model_file, device="cpu"), CodeGraph(make(seed=1)), [images(4, 64, 64)])


def test_values_that_are_not_finite_are_refused_and_nothing_is_written(make, tmp_path):
    function = make()
    with torch.no_grad():
        function.head.layers[0].weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        export(function, tmp_path / "m.onnx", name="m", chip_size=64)
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written(function, tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "m.onnx", tmp_path / "folder"):
        with pytest.raises(OutputError, match="cannot write"):
            export(function, path, name="m", chip_size=64)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_a_run_brings_its_own_facts(function, tmp_path):
    run = tmp_path / "ponds"
    run.mkdir()
    training = {"chip_size": 40, "images": 3, "created": CREATED}
    hash_functions.save(run / "hash_function.pt", function, training)
    card = export_run(run, tmp_path / "a.onnx")
    assert (card.name, card.chip_size, card.created) == ("ponds", 40, CREATED)
    assert card.training == training


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(InputError, match=r"hash_function\.pt"):
        export_run(tmp_path, tmp_path / "m.onnx")

"""Features by onnxruntime are those of PyTorch, and each way is cached apart."""

from contextlib import closing

import numpy as np
import pytest
import torch

from dcsh_pg.learning.data import computing
from dcsh_pg.learning.data.computing import OnnxCompute, TorchCompute, Way
from dcsh_pg.learning.data.feature_cache import FeatureCache
from dcsh_pg.learning.data.features import View, extract, fixed_views
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.training.part_similarity import PartEncoder
from dcsh_pg.progress import Progress

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Noting(Progress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return Encoder("small").eval()


def images(count=6, size=24):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.mark.parametrize(
    ("precision", "device", "work", "units", "way"),
    [
        ("auto", CPU, 10**10, False, Way("onnxruntime")),
        ("auto", CPU, 10**6, False, Way()),
        ("auto", CPU, 10**6, True, Way(precision="bfloat16")),
        ("auto", CUDA, 10**6, False, Way(precision="bfloat16")),
        ("float32", CPU, 10**10, True, Way("onnxruntime")),
        ("float32", CUDA, 10**10, True, Way()),
        ("bfloat16", CPU, 10**10, False, Way(precision="bfloat16")),
    ],
)
def test_the_fastest_way_of_a_machine(monkeypatch, precision, device, work, units, way):
    monkeypatch.setattr(computing, "has_matrix_units", lambda: units)
    assert Way.choose(precision, device, work) == way


@pytest.mark.parametrize("parts", [None, 4], ids=["features", "parts"])
def test_onnxruntime_gives_the_features_of_pytorch(encoder, parts):
    seen = PartEncoder(encoder, parts) if parts else encoder
    inputs = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = TorchCompute(seen)(inputs)()
    found = OnnxCompute(seen)(inputs)()
    assert found.dtype == np.float32
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_many_passes_run_on_onnxruntime_and_are_cached_apart(encoder, tmp_path, monkeypatch):
    views = fixed_views([0, 5])
    plain = extract(images(), encoder, views=views, cache=tmp_path)
    monkeypatch.setattr(computing, "WORTH_EXPORTING", 0)
    fast = extract(images(), encoder, views=views, cache=tmp_path)
    assert not np.array_equal(fast, plain) and np.allclose(fast, plain, atol=1e-4)
    with closing(FeatureCache(tmp_path)) as cache:
        assert len(cache._connection.execute("SELECT key FROM feature").fetchall()) == 24

    def fails(*_, **__):
        raise AssertionError("exported again")

    monkeypatch.setattr(computing.tracing, "trace", fails)
    assert np.array_equal(extract(images(), encoder, views=views, cache=tmp_path), fast)


class Untraceable(torch.nn.Module):
    def forward(self, images):
        return images.mean(dim=(2, 3)).repeat(1, 75)[:, :224].clone().apply_(float)


class Twice(torch.nn.Module):
    """Other features in the exported graph than outside of it."""

    def forward(self, images):
        features = images.mean(dim=(2, 3)).repeat(1, 75)[:, :224]
        return features * 2 if torch.onnx.is_in_onnx_export() else features


@pytest.mark.parametrize(
    ("body", "reason"), [(Untraceable(), ""), (Twice(), "it gives other features than PyTorch")]
)
def test_pytorch_runs_what_onnxruntime_cannot(monkeypatch, tmp_path, body, reason):
    encoder = Encoder("small").eval()
    encoder.body = body
    expected = extract(images(), encoder, cache=tmp_path)
    monkeypatch.setattr(computing, "WORTH_EXPORTING", 0)
    progress = Noting()
    found = extract(images(), encoder, cache=tmp_path, progress=progress)
    assert np.array_equal(found, expected)
    (note,) = progress.notes
    assert note.startswith("features (small): by PyTorch, because onnxruntime cannot run it: ")
    assert reason in note
    with closing(FeatureCache(tmp_path)) as cache:  # kept as what they are
        assert len(cache._connection.execute("SELECT key FROM feature").fetchall()) == 6


def test_float32_on_a_gpu_is_never_tf32(monkeypatch):
    class Device:
        type = "cuda"

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with computing._cudnn(Device()):
        assert not torch.backends.cudnn.allow_tf32 and torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.allow_tf32


def test_views_of_several_sizes_are_computed_together(encoder):
    views = [View(3), View(0, 0.5)]
    both = extract(images(), encoder, views=views)
    alone = [extract(images(), encoder, views=[view])[:, 0] for view in views]
    assert np.allclose(both, np.stack(alone, axis=1), atol=1e-5)


def test_a_cache_that_has_some_views_is_completed(encoder, tmp_path):
    views = fixed_views([0, 5, 2])
    extract(images()[::2], encoder, views=[views[1]], cache=tmp_path)
    extract(images()[:2], encoder, views=views[::2], cache=tmp_path)
    found = extract(images(), encoder, views=views, cache=tmp_path)
    assert np.allclose(found, extract(images(), encoder, views=views), atol=1e-5)

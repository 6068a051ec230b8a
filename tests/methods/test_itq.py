import json

import numpy as np
import pytest
import torch

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.features import extract
from dcsh_pg.methods import itq


def features(count=200, dim=40, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, dim)) * np.linspace(3, 0.1, dim) + 5


def test_error_never_rises_and_the_rotation_is_orthogonal():
    _, projection, rotation, errors = itq.quantize(features(), 16, itq.Options(), seed=0)
    assert len(errors) == 50
    assert (np.diff(errors) <= 1e-12).all() and errors[-1] < errors[0]
    assert np.allclose(rotation.T @ rotation, np.eye(16), atol=1e-10)
    assert np.allclose(projection.T @ projection, np.eye(16), atol=1e-10)


def test_projection_holds_the_most_variance():
    data = features()
    mean, projection, _, _ = itq.quantize(data, 16, itq.Options(iterations=1), seed=0)
    kept = np.square((data - mean) @ projection).sum()
    spectrum = np.linalg.svd(data - data.mean(axis=0), compute_uv=False)
    assert kept == pytest.approx(np.square(spectrum[:16]).sum())


def test_hash_function_applies_what_was_found(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 24, 24, 3), np.uint8)
    torch.manual_seed(0)
    encoder = Encoder("small")
    hash_function = itq.fit(images, encoder, bits=16, seed=3, run=tmp_path)
    seen = extract(images, encoder)[:, 0].astype(np.float64)
    unit = seen / np.linalg.norm(seen, axis=1, keepdims=True)
    mean, projection, rotation, errors = itq.quantize(unit, 16, itq.Options(), seed=3)
    with torch.no_grad():
        z = hash_function(hash_function.preprocess()(torch.from_numpy(images)))
    assert np.allclose(z, (unit - mean) @ projection @ rotation, atol=1e-5)
    record = json.loads((tmp_path / "log.jsonl").read_text())
    assert record["bits"] == 16 and record["quantization"] == pytest.approx(errors[-1], rel=1e-5)


def test_more_bits_than_images_are_refused():
    images = np.zeros((10, 24, 24, 3), np.uint8)
    with pytest.raises(UsageError, match="16 bits from 10 images"):
        itq.fit(images, Encoder("small"), bits=16)

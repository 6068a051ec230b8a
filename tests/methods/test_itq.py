import json

import numpy as np
import pytest
import torch
from fitting import fit
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import PixelEncoder, tiny, unit, z_of
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import pdist

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.features import extract
from dcsh_pg.learning.encoders import Encoder
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
    hash_function = fit(itq, images, encoder, bits=16, seed=3, folder=tmp_path)
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
        fit(itq, images, Encoder("small"), bits=16)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_step_solves_the_procrustes_problem(seed):
    data = features(count=80, dim=20, seed=seed)
    mean, projection, rotation, errors = itq.quantize(data, 16, itq.Options(iterations=1), seed=1)
    projected = (data - mean) @ projection
    start = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0]
    codes = np.where(projected @ start >= 0, 1.0, -1.0)
    assert errors == [pytest.approx(np.square(codes - projected @ start).sum() / 80)]
    assert np.allclose(rotation, orthogonal_procrustes(projected, codes)[0], atol=1e-8)


@settings(max_examples=15, deadline=None)
@given(scale=st.sampled_from([0.125, 0.5, 2.0, 16.0]), shift=st.integers(-64, 64))
def test_shift_and_scale_of_the_features_do_not_matter(scale, shift):
    data = features(count=60, dim=20)
    moved = scale * (data + shift)
    mean, projection, _, _ = itq.quantize(data, 16, itq.Options(), seed=0)
    other_mean, other_projection, _, _ = itq.quantize(moved, 16, itq.Options(), seed=0)
    z, other = (data - mean) @ projection, (moved - other_mean) @ other_projection
    same = np.sign((z * other).sum(axis=0))  # eigenvectors have no sign
    assert np.allclose(scale * z, other * same, atol=1e-6 * scale)


def test_order_of_the_training_images_does_not_matter():
    images = tiny()
    mixed = images[np.random.default_rng(0).permutation(len(images))]
    one, other = (fit(itq, given, PixelEncoder(), bits=16) for given in (images, mixed))
    assert np.allclose(z_of(one, images), z_of(other, images), atol=1e-5)


def test_z_is_as_far_apart_as_the_principal_components():
    """The rotation keeps distances."""
    images = tiny()
    seen = unit(images)
    left, spectrum, _ = np.linalg.svd(seen - seen.mean(axis=0), full_matrices=False)
    z = z_of(fit(itq, images, PixelEncoder(), bits=16), images)
    assert np.allclose(pdist(z), pdist(left[:, :16] * spectrum[:16]), atol=1e-5)
    assert np.allclose(z.mean(axis=0), 0, atol=1e-6)


def test_options_out_of_range_are_refused():
    with pytest.raises(UsageError, match="iterations must be at least 1, not 0"):
        itq.Options(iterations=0)

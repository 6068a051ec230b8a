import dataclasses

import numpy as np
import pytest
from fitting import fit
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import PixelEncoder, flat, tiny, unit, z_of
from sklearn.linear_model import Ridge

from dcsh_pg.errors import UsageError
from dcsh_pg.methods import prh


def hidden_by_hand(features, bits, random):
    """The random layer, which draws its matrix, then its biases."""
    projection = np.linalg.qr(random.standard_normal((features.shape[1], bits)))[0]
    assert np.allclose(projection.T @ projection, np.eye(bits))
    return 1 / (1 + np.exp(-(features @ projection + random.standard_normal(bits))))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), ridge=st.sampled_from([1e-2, 1.0, 100.0]))
def test_decoder_is_the_ridge_regression_of_features_on_the_random_layer(seed, ridge):
    features = np.random.default_rng(seed).normal(size=(50, 30))
    hidden = hidden_by_hand(features, 16, np.random.default_rng(seed + 1))
    expected = Ridge(alpha=ridge, fit_intercept=False, solver="svd").fit(hidden, features).coef_
    found = prh.fit_decoder(features, 16, ridge, np.random.default_rng(seed + 1))
    assert np.allclose(found, expected.T, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("unit_length", "given"), [(False, flat), (True, unit)])
def test_z_is_the_decoded_feature_above_its_median(unit_length, given):
    images, unseen = tiny(), tiny(9, seed=1)
    features, others = given(images), given(unseen)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    decoder = prh.fit_decoder((features - mean) / scale, 16, 1.0, np.random.default_rng(7))
    median = np.median((features - mean) / scale @ decoder.T, axis=0)
    options = prh.Options(unit_length=unit_length)
    z = z_of(fit(prh, images, PixelEncoder(), bits=16, seed=7, options=options), unseen)
    assert np.allclose(z, (others - mean) / scale @ decoder.T - median, atol=1e-3)


def test_each_bit_halves_the_training_images():
    images = tiny(61)
    z = z_of(fit(prh, images, PixelEncoder(), bits=16), images)
    ones = (z >= 0).sum(axis=0)
    assert ((ones >= 30) & (ones <= 31)).all()  # the median image is on either side


def test_order_of_the_training_images_does_not_matter():
    images = tiny()
    mixed = images[np.random.default_rng(0).permutation(len(images))]
    one, other = (fit(prh, given, PixelEncoder(), bits=16) for given in (images, mixed))
    assert np.allclose(z_of(one, images), z_of(other, images), atol=1e-4)


def test_a_feature_that_never_changes_does_no_harm():
    images = tiny()
    matrix = np.eye(48)
    matrix[:, 5] = 0
    z = z_of(fit(prh, images, PixelEncoder(matrix), bits=16), images)
    assert np.isfinite(z).all() and np.sqrt(np.mean(z**2)) < 1e3


@pytest.mark.parametrize("ridge", [0.0, -1.0])
def test_options_out_of_range_are_refused(ridge):
    with pytest.raises(UsageError, match=f"ridge must be positive, not {ridge}"):
        dataclasses.replace(prh.Options(), ridge=ridge)

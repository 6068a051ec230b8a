import dataclasses

import by_hand
import numpy as np
import pytest
from fitting import fit
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import PixelEncoder, ones, rotation, tiny, unit, z_of
from scipy.linalg import pinvh, sqrtm
from scipy.spatial.distance import cdist, pdist

from dcsh_pg.errors import UsageError
from dcsh_pg.methods import kulsh


def gaussian(features, anchors, sigma):
    return np.exp(-cdist(features, anchors, "sqeuclidean") / (2 * sigma**2))


def centring(p):
    return np.eye(p) - np.full((p, p), 1 / p)


def test_directions_are_those_of_kulis_and_grauman():
    """w = sqrt((p - 1) / t) K^-1/2 e_S, with the root of the pseudo-inverse taken directly."""
    points = unit(tiny(30))
    kernel = gaussian(points, points, pdist(points).mean())
    inverse = pinvh(centring(30) @ kernel @ centring(30))
    root = sqrtm(inverse).real
    random = np.random.default_rng(3)
    drawn = [random.choice(30, 10, replace=False) for _ in range(16)]
    expected = [np.sqrt(29 / 10) * root[:, s].sum(axis=1) for s in drawn]
    found = kulsh.directions(kernel, 16, 10, np.random.default_rng(3))
    assert np.allclose(found, expected, atol=1e-6)


def test_no_direction_is_preferred():
    """In the whitened span of the anchors the draws spread alike to all sides, as a Gaussian would:
    E[w w'] = (p - t) / p K^-1."""
    points = unit(tiny(30))
    kernel = gaussian(points, points, pdist(points).mean())
    root = sqrtm(centring(30) @ kernel @ centring(30)).real
    whitened = kulsh.directions(kernel, 8192, 10, np.random.default_rng(0)) @ root
    expected = 20 / 30 * centring(30)
    assert np.abs(whitened.T @ whitened / 8192 - expected).max() < 6 / np.sqrt(8192)


def test_z_is_the_centred_kernel_row_times_the_direction():
    """With as many anchors as images they are all images; the new row is centred in full."""
    images, unseen = tiny(40), tiny(9, seed=1)
    hash_function = fit(kulsh, images, PixelEncoder(), bits=16, seed=5)
    points = unit(images)
    sigma = pdist(points).mean()
    kernel = gaussian(points, points, sigma)
    random = np.random.default_rng(5)
    assert sorted(random.choice(40, 40, replace=False)) == list(range(40))  # the draw of anchors
    weights = kulsh.directions(kernel, 16, 20, random)
    rows = gaussian(unit(unseen), points, sigma)
    centred = rows - rows.mean(axis=1, keepdims=True) - kernel.mean(axis=0) + kernel.mean()
    assert np.allclose(z_of(hash_function, unseen), centred @ weights.T, atol=1e-4)
    assert np.allclose(z_of(hash_function, images).mean(axis=0), 0, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_all_anchors_share_does_not_matter(seed):
    """Centring in kernel space: kappa(a, b) + f(a) + f(b) + c is the same kernel."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(20, 30))
    kernel, shared = gaussian(points, points, 5.0), random.normal(size=20)
    one = kulsh.directions(kernel, 16, 10, np.random.default_rng(0))
    other = kulsh.directions(
        kernel + shared + shared[:, None] + 3, 16, 10, np.random.default_rng(0)
    )
    assert np.allclose(one, other, atol=1e-8)
    assert np.allclose(one.sum(axis=1), 0, atol=1e-8)


def test_rotated_features_give_the_same_codes():
    images = tiny()
    plain = fit(kulsh, images, PixelEncoder(), bits=16)
    turned = fit(kulsh, images, PixelEncoder(rotation()), bits=16)
    assert np.allclose(z_of(plain, images), z_of(turned, images), atol=1e-3)


def test_no_bit_is_rounding_where_images_are_there_twice():
    """Anchors that are alike leave the kernel matrix without full rank."""
    images = np.concatenate([tiny(75)] * 2)
    hash_function = fit(kulsh, images, PixelEncoder(), bits=16)
    z = z_of(hash_function, images)
    assert 0.1 < np.sqrt(np.mean(z**2)) < 10
    exact = by_hand.z_of(hash_function.head, unit(images))
    assert np.allclose(z, exact, atol=1e-4 * np.sqrt(np.mean(z**2)))


def test_an_archive_may_be_smaller_than_the_draw():
    images = tiny(24)
    share = ones(fit(kulsh, images, PixelEncoder(), bits=16), images)
    assert share.min() > 0.1 and share.max() < 0.9


def test_the_sum_of_all_anchors_is_no_direction():
    """Why at most half of them are drawn: t anchors and the others are opposite directions."""
    points = unit(tiny(20))
    kernel = gaussian(points, points, pdist(points).mean())
    every = kulsh.directions(kernel, 16, 20, np.random.default_rng(0))
    assert np.allclose(every, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"drawn": 0}, "drawn must be at least 1, not 0"),
        ({"drawn": 151}, "drawn must be at most half of anchors 300, not 151"),
        ({"anchors": 40}, "drawn must be at most half of anchors 40, not 30"),
    ],
)
def test_options_out_of_range_are_refused(change, named):
    with pytest.raises(UsageError, match=named):
        dataclasses.replace(kulsh.Options(), **change)

"""Neighbours against the formulas of their docstrings, written densely in double precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsh_pg.learning.data import neighbours
from dcsh_pg.learning.data.neighbours import centred, clustered, diffused, nearest, whitened

SPACES = {"centred": centred, "whitened": whitened}
FINDERS = {
    "nearest": lambda unit: nearest(unit, 5),
    "diffused": lambda unit: diffused(unit, 5, graph=4),
}


def features(images=40, views=2, dim=12, seed=0):
    """Positive, as after a ReLU, in loose groups."""
    random = np.random.default_rng(seed)
    groups = random.gamma(1, 1, (6, dim))[np.arange(images) % 6]
    noise = random.gamma(1, 0.6, (images, views, dim))
    return torch.from_numpy((groups[:, None] + noise).astype(np.float32))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def dense_centred(given):
    mean = unit(given.double().numpy()).mean(axis=1)
    return unit(mean - mean.mean(axis=0))


def dense_diffusion(vectors, graph, restart, steps):
    """P, (N, N): sum over t of (1 - restart)^t S^t."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    weights = np.zeros_like(cosines)
    for image, row in enumerate(cosines):
        joined = np.argsort(-row)[:graph]
        weights[image, joined] = np.clip(row[joined], 0, None) ** neighbours.EXPONENT
    weights = (weights + weights.T) / 2
    degree = weights.sum(axis=1)
    normalised = weights / np.sqrt(np.outer(degree, degree))
    return sum((1 - restart) ** t * np.linalg.matrix_power(normalised, t) for t in range(steps + 1))


def best(likeness, k):
    likeness = likeness.copy()
    np.fill_diagonal(likeness, -np.inf)
    return np.argsort(-likeness, axis=1, kind="stable")[:, :k]


def test_centred_is_unit_and_has_views_averaged():
    assert np.allclose(centred(features()).numpy(), dense_centred(features()), atol=1e-6)


def test_whitened_divides_components_by_the_root_of_their_deviation():
    tamed = unit(np.sqrt(features().double().numpy())).mean(axis=1)
    tamed = tamed - tamed.mean(axis=0)
    left, deviations, _ = np.linalg.svd(tamed / np.sqrt(len(tamed)), full_matrices=False)
    kept = deviations > deviations[0] * 1e-5
    expected = unit(left[:, kept] * deviations[kept] ** 0.5)
    found = whitened(features()).double().numpy()
    assert np.allclose(found @ found.T, expected @ expected.T, atol=1e-5)


def test_nearest_are_the_largest_cosines():
    vectors = dense_centred(features())
    assert np.array_equal(nearest(centred(features()), 7).numpy(), best(vectors @ vectors.T, 7))


@pytest.mark.parametrize("restart", [0.1, 0.5])
@pytest.mark.parametrize("steps", [3, 20])
def test_diffused_are_the_likeliest_of_random_walks(restart, steps):
    likeness = dense_diffusion(dense_centred(features()), 4, restart, steps)
    found = diffused(centred(features()), 6, graph=4, restart=restart, steps=steps).numpy()
    expected = best(likeness, 6)
    values = np.take_along_axis(likeness, found, 1), np.take_along_axis(likeness, expected, 1)
    assert np.allclose(*values, atol=1e-6)  # the same but for ties to rounding
    assert np.mean(found == expected) > 0.99


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("finder", FINDERS)
def test_blocks_of_the_matrix_do_not_matter(monkeypatch, finder, space):
    whole = FINDERS[finder](space(features()))
    monkeypatch.setattr(neighbours, "_ROWS_AT_ONCE", 7 * 40)
    assert FINDERS[finder](space(features())).equal(whole)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("finder", FINDERS)
@given(scale=st.sampled_from([2**-6, 0.5, 4, 2**8]))  # powers of 4 and 2: roots round alike
@settings(max_examples=4, deadline=None)
def test_scale_of_the_features_does_not_matter(finder, space, scale):
    plain = FINDERS[finder](space(features()))
    each = torch.full((40, 1, 1), float(scale))
    each[::2] *= 4  # every image has a scale of its own
    assert np.mean((FINDERS[finder](space(each * features())) == plain).numpy()) > 0.99


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("finder", FINDERS)
@given(seed=st.integers(0, 99))
@settings(max_examples=4, deadline=None)
def test_the_order_of_images_does_not_matter(finder, space, seed):
    order = torch.from_numpy(np.random.default_rng(seed).permutation(40))
    plain = FINDERS[finder](space(features()))
    permuted = FINDERS[finder](space(features()[order]))
    assert np.mean((order[permuted] == plain[order]).numpy()) > 0.99


@pytest.mark.parametrize("finder", FINDERS)
def test_no_image_is_its_own_neighbour_and_none_comes_twice(finder):
    for own, found in enumerate(FINDERS[finder](whitened(features())).tolist()):
        assert own not in found and len(set(found)) == 5


def test_like_images_stay_apart_from_others_far_away():
    """Two chains of images: walks do not leave a chain, whose ends are far from each other."""
    angles = torch.linspace(0, 2.5, 12)
    chain = torch.stack([angles.cos(), angles.sin()], dim=1)
    both = torch.zeros(24, 1, 4)
    both[:12, 0, :2], both[12:, 0, 2:] = chain, chain
    found = diffused(centred(both), 11, graph=2)
    assert (found[:12] < 12).all() and (found[12:] >= 12).all()


def test_clusters_hold_all_their_images_and_no_other():
    found = clustered(centred(features()), 6, seed=3)
    members = [frozenset(row) for row in found.tolist()]
    assert all(own in row for own, row in enumerate(members))
    assert sorted(i for row in set(members) for i in row) == list(range(40))
    assert found.equal(clustered(centred(features()), 6, seed=3))
    assert found.shape[1] == max(len(row) for row in members)

import dataclasses
from itertools import combinations
from math import log

import numpy as np
import pytest
from fitting import fit
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import PixelEncoder, rotation, tiny, unit, z_of
from sklearn.cluster import KMeans

from dcsh_pg.errors import UsageError
from dcsh_pg.methods import dsh


def planes_by_hand(centroids, sizes, adjacent):
    """All candidates of the paper, as loops: [(entropy, normal, offset)], the most even first."""
    distance = [[np.linalg.norm(a - b) for b in centroids] for a in centroids]
    near = [
        sorted((j for j in range(len(centroids)) if j != i), key=lambda j: distance[i][j])
        for i in range(len(centroids))
    ]
    planes = []
    for i, j in combinations(range(len(centroids)), 2):
        if j not in near[i][:adjacent] and i not in near[j][:adjacent]:
            continue
        normal = (centroids[i] - centroids[j]) / distance[i][j]
        offset = normal @ (centroids[i] + centroids[j]) / 2
        above = sum(n for c, n in zip(centroids, sizes, strict=True) if normal @ c > offset)
        shares = [above / sum(sizes), 1 - above / sum(sizes)]
        planes.append((-sum(p * log(p) for p in shares if p > 0), normal, offset))
    return sorted(planes, key=lambda plane: -plane[0])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), groups=st.integers(8, 20), adjacent=st.integers(2, 4))
def test_planes_are_those_of_the_paper(seed, groups, adjacent):
    random = np.random.default_rng(seed)
    centroids = random.normal(size=(groups, 5))
    sizes = random.integers(1, 30, groups)
    normals, offsets = dsh.hyperplanes(centroids, sizes, 8, adjacent)
    candidates = planes_by_hand(centroids, sizes, adjacent)
    for k, (normal, offset) in enumerate(zip(normals, offsets, strict=True)):
        (same,) = [c for c in candidates if np.allclose(c[1], normal) and np.isclose(c[2], offset)]
        assert same[0] == pytest.approx(candidates[k][0])  # planes of one entropy in any order


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_planes_move_with_the_centroids(seed):
    random = np.random.default_rng(seed)
    centroids, moved = random.normal(size=(12, 5)), random.normal(size=5)
    sizes = random.integers(1, 30, 12)
    normals, offsets = dsh.hyperplanes(centroids, sizes, 8, 3)
    again, shifted = dsh.hyperplanes(centroids + moved, sizes, 8, 3)
    assert np.allclose(again, normals) and np.allclose(shifted, offsets + normals @ moved)


def test_hash_function_is_the_planes_between_groups():
    images = tiny(80)
    features = unit(images)
    options = dsh.Options(iterations=300)
    kmeans = KMeans(24, init="random", n_init=1, random_state=2).fit(features)
    sizes = np.bincount(kmeans.labels_, minlength=24)
    normals, offsets = dsh.hyperplanes(kmeans.cluster_centers_, sizes, 16, 3)
    z = z_of(fit(dsh, images, PixelEncoder(), bits=16, seed=2, options=options), images)
    assert np.allclose(z, features @ normals.T - offsets, atol=1e-5)


def test_rotated_features_give_the_same_codes():
    """Everything hangs on distances."""
    images = tiny(80)
    plain = fit(dsh, images, PixelEncoder(), bits=16)
    turned = fit(dsh, images, PixelEncoder(rotation()), bits=16)
    assert np.allclose(z_of(plain, images), z_of(turned, images), atol=1e-4)


def test_most_even_plane_comes_first():
    """Two far clouds of like size, each of near groups: the plane between them halves the images."""
    line = np.array([[0.0], [1.0], [2.1], [9.0], [10.0], [11.1]])
    normals, offsets = dsh.hyperplanes(line, np.array([5, 5, 5, 5, 5, 5]), 1, 3)
    assert abs(normals[0, 0]) == 1
    assert 2.1 < offsets[0] / normals[0, 0] < 9.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"alpha": 1.0}, "alpha must be above 1, not 1.0"),
        ({"adjacent": 1}, "adjacent must be at least 2, not 1"),
        ({"iterations": 0}, "iterations must be at least 1, not 0"),
    ],
)
def test_options_out_of_range_are_refused(change, named):
    with pytest.raises(UsageError, match=named):
        dataclasses.replace(dsh.Options(), **change)


def test_too_few_or_too_similar_images_are_refused():
    with pytest.raises(UsageError, match="at least 24 images for 16 bits, not 20"):
        fit(dsh, tiny(20), PixelEncoder(), bits=16)
    with pytest.raises(UsageError, match="pairs of adjacent groups for 16 bits"):
        fit(dsh, np.repeat(tiny(4), 10, axis=0), PixelEncoder(), bits=16)

import dataclasses

import by_hand
import numpy as np
import pytest
from fitting import fit
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import PixelEncoder, tiny, unit, z_of
from sklearn.cluster import KMeans

from dcsh_pg.errors import UsageError
from dcsh_pg.methods import plsh


def documents(count=40, words=12, topics=3, seed=0):
    """Frequencies that a topic model made, and its P(w|z)."""
    random = np.random.default_rng(seed)
    spoken = random.dirichlet(np.full(words, 0.3), topics)
    return random.dirichlet(np.full(topics, 0.5), count) @ spoken, spoken


def likelihood(counts, words, shares):
    """pLSA's log-likelihood, sum of n(d, w) log P(w|d)."""
    return (counts * np.log(np.maximum(shares @ words, 1e-12))).sum()


def em_by_hand(counts, words, shares):
    """One step of pLSA's EM (Hofmann 1999), as loops."""
    new_words, new_shares = np.zeros_like(words), np.zeros_like(shares)
    for d in range(counts.shape[0]):
        for w in range(counts.shape[1]):
            posterior = shares[d] * words[:, w] / (shares[d] @ words[:, w])
            new_words[:, w] += counts[d, w] * posterior
            new_shares[d] += counts[d, w] * posterior
    return (
        new_words / new_words.sum(axis=1, keepdims=True),
        new_shares / new_shares.sum(axis=1, keepdims=True),
    )


@pytest.mark.parametrize("seed", range(3))
def test_topics_are_a_fixed_point_of_em(seed):
    """What the factorisation finds, pLSA's own EM keeps; with fewer topics than the documents have,
    so that other losses would end elsewhere."""
    counts, _ = documents(count=15, seed=seed)
    options = plsh.Options(iterations=20_000, tolerance=0.0, smoothing=1e-9)
    words = plsh.topics(counts, 2, options, seed=0)
    shares = np.array([by_hand.fold_in(row, words, 300) for row in counts])
    drawn = np.random.default_rng(0).dirichlet(np.ones(12), 2)
    reached = likelihood(counts, words, shares)
    gained = reached - likelihood(counts, drawn, np.full((15, 2), 1 / 2))
    again = likelihood(counts, *em_by_hand(counts, words, shares))
    assert gained > 0 and again - reached < 1e-4 * gained


def test_topics_are_found_again():
    counts, spoken = documents(count=200, words=20)
    found = plsh.topics(counts, 3, plsh.Options(iterations=3000, tolerance=0.0), seed=0)
    cosine = (found / np.linalg.norm(found, axis=1)[:, None]) @ (
        spoken / np.linalg.norm(spoken, axis=1)[:, None]
    ).T
    assert (cosine.max(axis=0) > 0.9).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-3, 1e3))
def test_topics_are_distributions_without_zeros_and_know_no_scale(seed, factor):
    counts, _ = documents(seed=seed)
    counts[3] = 0  # an image without any feature
    words = plsh.topics(counts, 4, plsh.Options(), seed=0)
    assert np.allclose(words.sum(axis=1), 1) and words.min() > 0.009 / 12
    assert np.allclose(plsh.topics(factor * counts, 4, plsh.Options(), seed=0), words, atol=1e-6)


@pytest.mark.parametrize(("threshold", "middle"), [("mean", np.mean), ("median", np.median)])
def test_z_is_the_share_of_a_topic_above_its_threshold(threshold, middle):
    """Groups see features below 0, topics take them as 0."""
    images, unseen = tiny(80), tiny(5, seed=1)
    signs = np.where(np.arange(48) < 8, -1.0, 1.0)
    features, others = unit(images) * signs, unit(unseen) * signs
    counts = np.maximum(features, 0)
    options = plsh.Options(steps=12, threshold=threshold)
    labels = KMeans(4, n_init=10, random_state=3).fit(features).labels_
    groups = [plsh.topics(counts[labels == g], 4, options, seed=3) for g in range(4)]

    def shares(features):
        return np.array(
            [
                np.concatenate([by_hand.fold_in(row, words, 12) for words in groups])
                for row in features
            ]
        )

    expected = middle(shares(counts), axis=0)
    encoder = PixelEncoder(np.diag(signs))
    z = z_of(fit(plsh, images, encoder, bits=16, seed=3, options=options), unseen)
    assert np.allclose(z, shares(np.maximum(others, 0)) - expected, atol=1e-3)


def test_each_bit_halves_the_training_images_at_the_median():
    images = tiny(80)
    options = plsh.Options(threshold="median")
    z = z_of(fit(plsh, images, PixelEncoder(), bits=16, options=options), images)
    ones = (z >= 0).sum(axis=0)
    assert (np.abs(ones - 40) <= 1).all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"groups": 0}, "groups must be at least 1, not 0"),
        ({"iterations": 0}, "iterations must be at least 1, not 0"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"tolerance": -1.0}, "tolerance must be at least 0, not -1"),
        ({"smoothing": 0.0}, "smoothing must be positive, not 0"),
    ],
)
def test_options_out_of_range_are_refused(change, named):
    with pytest.raises(UsageError, match=named):
        dataclasses.replace(plsh.Options(), **change)


@pytest.mark.parametrize("groups", [3, 16])
def test_bits_that_cannot_be_shared_are_refused(groups):
    with pytest.raises(UsageError, match=f"16 bits among {groups} groups"):
        fit(plsh, tiny(), PixelEncoder(), bits=16, options=plsh.Options(groups=groups))


def test_images_of_fewer_clusters_than_groups_are_refused():
    with pytest.raises(UsageError, match="2 clusters of images for 4 groups"):
        fit(plsh, np.repeat(tiny(2), 20, axis=0), PixelEncoder(), bits=16)

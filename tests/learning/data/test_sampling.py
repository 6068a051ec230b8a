"""Images of a rare kind are drawn about as often as those of a frequent one."""

import numpy as np
import pytest
import torch

from dcsh_pg.learning.data import sampling
from dcsh_pg.learning.data.feature_pairs import FeaturePairs
from dcsh_pg.learning.data.neighbours import centred
from dcsh_pg.learning.data.sampling import Sampled, density, spread


def kinds(*counts, dim=32, seed=0):
    """Unit vectors float32 (N, dim) of kinds with so many images each, and the kinds (N,)."""
    random = np.random.default_rng(seed)
    of = np.arange(len(counts)).repeat(counts)
    vectors = random.normal(size=(len(counts), dim))[of] + 0.3 * random.normal(size=(len(of), dim))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return torch.from_numpy(unit).float(), of


def test_density_is_the_mean_of_cubed_cosines(monkeypatch):
    unit, _ = kinds(20, 10)
    cosines = np.clip((unit @ unit.T).numpy(), 0, None) ** 3
    assert np.allclose(density(unit), cosines.mean(axis=1), atol=1e-6)
    monkeypatch.setattr(sampling, "_IMAGES_AT_ONCE", 7)
    assert np.allclose(density(unit), cosines.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("landmarks", [2000, 300])
def test_a_rare_kind_is_drawn_about_as_often_as_a_frequent_one(monkeypatch, landmarks):
    monkeypatch.setattr(sampling, "LANDMARKS", landmarks)
    unit, of = kinds(900, 50, 50)
    rows = spread(unit, seed=1)
    drawn = np.bincount(of[rows])
    assert len(rows) == 1000 and drawn.min() > 200
    assert rows.equal(spread(unit, seed=1)) and rows.equal(rows.sort().values)


def test_kinds_of_one_size_are_all_drawn():
    unit, _ = kinds(40, 40, 40)
    assert len(spread(unit).unique()) > 100


def test_sampled_pairs_are_of_the_rows_drawn():
    features = centred(torch.rand(6, 1, 8))[:, None]
    source = Sampled(FeaturePairs(features), torch.tensor([5, 5, 2]))
    assert len(source) == 3
    assert source.plain(torch.tensor([1, 2])).equal(features[[5, 2], 0])
    pairs = source.draw(torch.tensor([0, 2]), torch.Generator())
    assert pairs.images.tolist() == [5, 2, 5, 2]

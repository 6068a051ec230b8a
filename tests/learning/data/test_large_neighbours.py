"""Approximate neighbours against exact ones."""

import numpy as np
import pytest
import torch

from dcsh_pg.learning.data import large_neighbours, neighbours
from dcsh_pg.learning.data.neighbours import centred, diffused, nearest


def groups(images=900, dim=24, kinds=30, seed=0):
    """Unit vectors float32 (N, dim) in groups of 30, all of them neighbours within a group."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(kinds, dim)).repeat(images // kinds, axis=0)
    return centred(
        torch.from_numpy(centres + 0.5 * random.normal(size=centres.shape)).float()[:, None]
    )


def share(found, exact):
    """Fraction of the exact neighbours that are found."""
    pairs = zip(found.tolist(), exact.tolist(), strict=True)
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs])


@pytest.fixture
def large(monkeypatch):
    """Makes all sets large, with cells that hold few images."""
    exact = nearest(groups(), 10), diffused(groups(), 20)
    monkeypatch.setattr(neighbours, "EXACT", 100)
    monkeypatch.setattr(large_neighbours, "_SEARCHED_AT_ONCE", 128)
    monkeypatch.setattr(large_neighbours, "_WALKED_AT_ONCE", 64)
    return exact


def test_most_neighbours_are_found(large):
    assert share(nearest(groups(), 10), large[0]) > 0.98
    assert share(diffused(groups(), 20), large[1]) > 0.95


def test_the_seed_decides_and_blocks_do_not(large, monkeypatch):
    first = nearest(groups(), 10, seed=3), diffused(groups(), 20, seed=3)
    monkeypatch.setattr(large_neighbours, "_SEARCHED_AT_ONCE", 1000)
    monkeypatch.setattr(large_neighbours, "_WALKED_AT_ONCE", 500)
    again = nearest(groups(), 10, seed=3), diffused(groups(), 20, seed=3)
    assert all(one.equal(other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize("find", [nearest, diffused])
def test_no_image_is_its_own_neighbour_and_none_comes_twice(large, find):
    for own, found in enumerate(find(groups(), 12).tolist()):
        assert own not in found and len(set(found)) == 12


def test_equal_images_are_neighbours_of_each_other(large):
    """More equal images than are asked for: an image may not be in its own list."""
    unit = groups()
    unit[:40] = unit[0]
    for own, found in enumerate(nearest(unit, 5)[:40].tolist()):
        assert own not in found and len(set(found)) == 5 and max(found) < 40


def test_all_cells_are_searched_where_some_hold_too_few(large, monkeypatch):
    monkeypatch.setattr(large_neighbours, "PROBED", 1)
    monkeypatch.setattr(large_neighbours, "CELLS", 8)
    found = nearest(groups(), 60)
    assert (found >= 0).all() and all(len(set(row)) == 60 for row in found.tolist())


def test_walks_that_reach_few_images_end_with_the_image_itself(large):
    pairs = torch.eye(200).repeat_interleave(2, dim=0)
    found = diffused(pairs, 3, graph=1)
    assert all(own ^ 1 == row[0] for own, row in enumerate(found.tolist()))
    assert all(row[1:] == [own, own] for own, row in enumerate(found.tolist()))

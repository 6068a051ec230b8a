"""The losses on all pairs of a batch against a loop over them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsh_pg.learning.losses.pairwise import pair_likelihood, pair_regression

BATCHES = given(st.integers(2, 7), st.integers(1, 9), st.integers(0, 99))


def batch(views, bits, seed):
    generator = torch.Generator().manual_seed(seed)
    h = torch.rand(views, bits, generator=generator, dtype=torch.float64) * 2 - 1
    similarity = torch.rand(views, views, generator=generator, dtype=torch.float64)
    return h, similarity, torch.rand(views, views, generator=generator) < 0.5


def mean_over_pairs(counts, cost):
    costs = [
        cost(i, j)
        for i in range(len(counts))
        for j in range(len(counts))
        if i != j and counts[i, j]
    ]
    return sum(costs) / len(costs) if costs else 0.0


@settings(max_examples=20, deadline=None)
@BATCHES
def test_likelihood_is_that_of_soft_similarities(views, bits, seed):
    h, similarity, counts = batch(views, bits, seed)

    def cost(i, j):
        probability = 1 / (1 + math.exp(-10 / (2 * bits) * (h[i] @ h[j]).item()))
        s = similarity[i, j].item()
        return -s * math.log(probability) - (1 - s) * math.log(1 - probability)

    got = pair_likelihood(h, similarity, counts, sharpness=10).item()
    assert got == pytest.approx(mean_over_pairs(counts, cost))


@settings(max_examples=20, deadline=None)
@BATCHES
def test_regression_is_the_squared_difference(views, bits, seed):
    h, targets, counts = batch(views, bits, seed)

    def cost(i, j):
        return ((h[i] @ h[j]).item() / bits - targets[i, j].item()) ** 2

    assert pair_regression(h, targets, counts).item() == pytest.approx(
        mean_over_pairs(counts, cost)
    )


def test_nothing_that_counts_costs_nothing():
    h, similarity, _ = batch(4, 8, 0)
    itself = torch.eye(4, dtype=torch.bool)
    assert pair_regression(h, similarity, itself) == 0
    assert pair_likelihood(h, similarity, itself, sharpness=10) == 0

"""The losses against a direct, loop-written evaluation of the paper's formulas."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsh_pg.learning.losses.contrastive import nt_xent
from dcsh_pg.learning.losses.quantization import quantization


def hash_like(pairs, bits, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(pairs, bits, generator=generator, dtype=torch.float64) * 2 - 1 for _ in "12"]


def cosine(a, b):
    return (a @ b / (a.norm() * b.norm())).item()


def equation_12(h, temperature):
    """h[c][i]: view c of image i."""
    pairs = len(h[0])
    total = 0.0
    for i in range(pairs):
        positive = math.exp(cosine(h[0][i], h[1][i]) / temperature)
        for c in (0, 1):
            negatives = [
                math.exp(cosine(h[c][i], h[k][j]) / temperature)
                for j in range(pairs)
                if j != i
                for k in (0, 1)
            ]
            assert len(negatives) == 2 * (pairs - 1)
            total -= math.log(positive / (positive + sum(negatives))) / 2
    return total / pairs


def equation_13(h, divisor):
    pairs, bits = h[0].shape
    total = 0.0
    for i in range(pairs):
        for c in (0, 1):
            total += sum((abs(h[c][i, k].item()) - 1) ** 2 for k in range(bits)) / 2
    return total / pairs / divisor


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(1, 9), st.integers(0, 99), st.sampled_from([0.1, 0.3, 1.0]))
def test_nt_xent_is_equation_12(pairs, bits, seed, temperature):
    h = hash_like(pairs, bits, seed)
    assert nt_xent(*h, temperature=temperature).item() == pytest.approx(equation_12(h, temperature))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 99))
def test_quantization_is_equation_13(pairs, bits, seed):
    h = hash_like(pairs, bits, seed)
    assert quantization(*h, reduction="sum").item() == pytest.approx(equation_13(h, 1))
    assert quantization(*h, reduction="mean").item() == pytest.approx(equation_13(h, bits))


def test_nt_xent_of_uniform_similarity_counts_the_126_negatives():
    h = torch.ones(64, 16)
    assert nt_xent(h, h, temperature=0.3).item() == pytest.approx(math.log(127), rel=1e-5)


def test_ignored_views_are_no_negatives_and_positives_stay():
    first, second = hash_like(3, 8, seed=1)
    ignored = torch.zeros(6, 6, dtype=torch.bool)
    pairs_1_and_3 = [0, 2, 3, 5]
    for a in pairs_1_and_3:
        ignored[a, pairs_1_and_3] = True
    rows = [nt_xent(first[i], second[i], temperature=0.3) for i in ([0, 1], [2, 1])]
    got = nt_xent(first, second, temperature=0.3, ignored=ignored)
    whole = nt_xent(first, second, temperature=0.3)
    assert rows[0] < whole and got < whole
    everything = torch.ones(6, 6, dtype=torch.bool)
    assert nt_xent(first, second, temperature=0.3, ignored=everything).item() == 0

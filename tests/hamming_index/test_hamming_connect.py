"""hamming_connect: codes connected by steps of few bits."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
from hamming_cases import make_codes, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def connect(db, codes, radius, most=2**31 - 1):
    bits = codes.shape[1] if len(codes) else 8
    (roots,) = db.execute(
        f"SELECT hamming_connect(%s::bit({bits})[], %s, %s)",
        [[text(code) for code in codes], radius, most],
    ).fetchone()
    return roots


def brute_force(codes, radius):
    """Places from 1 on of the first code of each one's group."""
    signs = 2 * codes.astype(np.float32) - 1
    near = codes.shape[1] - signs @ signs.T <= 2 * radius
    roots = np.arange(len(codes))
    while True:
        lowest = np.array([roots[row].min() for row in near], dtype=int)
        lowest = lowest[lowest]
        if (lowest == roots).all():
            return (roots + 1).tolist()
        roots = lowest


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(["random", "clustered", "equal", "few"]),
    count=st.integers(1, 300),
    bits=st.sampled_from([8, 16, 61, 64, 130]),
    radius=st.integers(0, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_groups_equal_brute_force(db, kind, count, bits, radius, seed):
    codes = make_codes(kind, count, bits, np.random.default_rng(seed))
    assert connect(db, codes, radius) == brute_force(codes, radius)


def test_a_chain_is_one_group(db):
    """Each code two bits from the next, the ends far apart."""
    chain = np.tril(np.ones((33, 32), np.uint8), -1).repeat(2, axis=1)
    order = np.random.default_rng(0).permutation(33)
    assert connect(db, chain[order], 2) == [1] * 33
    assert connect(db, chain[order], 1) == list(range(1, 34))


def test_groups_of_many_codes_equal_brute_force(db):
    codes = make_codes("clustered", 5000, 64, np.random.default_rng(8))
    groups = connect(db, codes, 7)
    assert groups == brute_force(codes, 7)
    assert 20 < len(set(groups)) < 5000
    assert connect(db, codes, 7, most=1) is None


@pytest.mark.parametrize("most", [1, 100])
def test_few_codes_stay_within_the_comparison_limit(db, most):
    assert connect(db, np.array([[0, 0, 1, 1]], np.uint8), 1, most) == [1]
    assert connect(db, np.array([[0, 0, 1, 1]] * 2, np.uint8), 0, most) == [1, 1]


def test_invalid_arguments_are_refused(db):
    assert connect(db, np.zeros((0, 8), np.uint8), 1) == []
    for call, message in {
        "ARRAY[B'10', NULL]": "must not be null",
        "ARRAY[B'10', B'1']": "different bit lengths",
        "ARRAY[ARRAY[B'10'], ARRAY[B'11']]": "one-dimensional",
        "ARRAY[repeat('1', 1025)::bit varying]": "1 to 1024 bits",
    }.items():
        with pytest.raises(psycopg.Error, match=message):
            db.execute(f"SELECT hamming_connect({call}, 1, 100)")
    with pytest.raises(psycopg.Error, match="must not be negative"):
        db.execute("SELECT hamming_connect(ARRAY[B'10'], -1, 100)")

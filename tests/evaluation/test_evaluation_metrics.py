from __future__ import annotations

from itertools import permutations, product
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dcsh_pg import codes
from dcsh_pg.errors import UsageError
from dcsh_pg.evaluation import metrics
from dcsh_pg.evaluation.metrics import Comparison, Histograms


def all_orders(distances, relevant):
    """Every ranking that the distances allow, as lists of relevance."""
    groups = [
        [bool(r) for d, r in zip(distances, relevant, strict=True) if d == one]
        for one in sorted(set(distances))
    ]
    for orders in product(*(list(permutations(group)) for group in groups)):
        yield [item for group in orders for item in group]


def plain_average_precision(ranking):
    found, total = 0, 0.0
    for k, is_relevant in enumerate(ranking, start=1):
        if is_relevant:
            found += 1
            total += found / k
    return total / found


def histograms_of(distances, relevant, bits=16):
    distances, relevant = np.asarray(distances), np.asarray(relevant, bool)
    return Histograms(
        np.bincount(distances, minlength=bits + 1)[None],
        np.bincount(distances[relevant], minlength=bits + 1)[None],
    )


@st.composite
def small_rankings(draw):
    items = draw(
        st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=6).filter(
            lambda items: any(relevant for _, relevant in items)
        )
    )
    return [d for d, _ in items], [r for _, r in items]


@st.composite
def comparisons(draw, leave_one_out=False):
    bits = draw(st.sampled_from([16, 24]))
    alphabet = draw(hnp.arrays(np.uint8, (draw(st.integers(1, 4)), bits // 8)))

    def items(least, most):
        size = draw(st.integers(least, most))
        picks = draw(hnp.arrays(np.intp, size, elements=st.integers(0, len(alphabet) - 1)))
        classes = draw(hnp.arrays(np.intp, size, elements=st.integers(0, 2)))
        return alphabet[picks], classes

    database = items(2, 12)
    queries = database if leave_one_out else items(1, 6)
    return Comparison(*queries, *database, leave_one_out=leave_one_out)


def score(comparison):
    return metrics.average_precision(metrics.distance_histograms(comparison))


@given(small_rankings())
def test_average_precision_is_the_mean_over_all_orders_of_ties(ranking):
    expected = np.mean([plain_average_precision(order) for order in all_orders(*ranking)])
    assert metrics.average_precision(histograms_of(*ranking))[0] == pytest.approx(expected)


@given(small_rankings(), st.integers(1, 6))
def test_relevant_at_is_the_mean_over_all_orders_of_ties(ranking, n):
    n = min(n, len(ranking[0]))
    expected = np.mean([sum(order[:n]) for order in all_orders(*ranking)])
    assert metrics.relevant_at(histograms_of(*ranking), n)[0] == pytest.approx(expected)


@given(st.one_of(comparisons(), comparisons(leave_one_out=True)))
def test_histograms_count_what_brute_force_counts(comparison):
    found = metrics.distance_histograms(comparison)
    distances = codes.hamming(comparison.queries, comparison.database)
    for q, row in enumerate(distances):
        keep = np.ones(len(row), bool)
        if comparison.leave_one_out:
            keep[q] = False
        relevant = keep & (comparison.query_classes[q] == comparison.database_classes)
        bins = comparison.bits + 1
        np.testing.assert_array_equal(found.items[q], np.bincount(row[keep], minlength=bins))
        np.testing.assert_array_equal(found.relevant[q], np.bincount(row[relevant], minlength=bins))


@pytest.mark.parametrize("leave_one_out", [False, True])
def test_blocks_do_not_matter(leave_one_out, monkeypatch):
    random = np.random.default_rng(1)
    database, classes = random.integers(0, 256, (40, 4), np.uint8), random.integers(0, 3, 40)
    comparison = Comparison(database, classes, database, classes, leave_one_out=leave_one_out)
    whole = metrics.distance_histograms(comparison)
    shuffled = metrics.shuffled_average_precision(comparison)
    monkeypatch.setattr(metrics, "BLOCK_ITEMS", 7 * 40)
    parts = metrics.distance_histograms(comparison)
    np.testing.assert_array_equal(whole.items, parts.items)
    np.testing.assert_array_equal(whole.relevant, parts.relevant)
    np.testing.assert_array_equal(shuffled, metrics.shuffled_average_precision(comparison))


@given(comparisons(), st.randoms(use_true_random=False))
def test_order_of_the_database_does_not_matter(comparison, random):
    order = list(range(len(comparison.database)))
    random.shuffle(order)
    reordered = Comparison(
        comparison.queries,
        comparison.query_classes,
        comparison.database[order],
        comparison.database_classes[order],
    )
    np.testing.assert_array_equal(score(comparison), score(reordered))


@given(comparisons(), st.binary(min_size=3, max_size=3))
def test_flipping_the_same_bits_everywhere_does_not_matter(comparison, mask):
    mask = np.frombuffer(mask, np.uint8)[: comparison.database.shape[1]]
    flipped = Comparison(
        comparison.queries ^ mask,
        comparison.query_classes,
        comparison.database ^ mask,
        comparison.database_classes,
    )
    np.testing.assert_array_equal(score(comparison), score(flipped))


@given(comparisons(), st.permutations([0, 1, 2]))
def test_names_of_the_classes_do_not_matter(comparison, names):
    names = np.asarray(names)
    renamed = Comparison(
        comparison.queries,
        names[comparison.query_classes],
        comparison.database,
        names[comparison.database_classes],
    )
    np.testing.assert_array_equal(score(comparison), score(renamed))


@given(st.one_of(comparisons(), comparisons(leave_one_out=True)))
def test_average_precision_is_within_its_bounds(comparison):
    histograms = metrics.distance_histograms(comparison)
    found = metrics.average_precision(histograms)
    has_relevant = histograms.relevant_in_database > 0
    assert (np.isnan(found) == ~has_relevant).all()
    assert (found[has_relevant] > 0).all() and (found[has_relevant] <= 1 + 1e-12).all()


@given(st.integers(1, 60), st.integers(0, 60))
def test_equal_codes_score_what_chance_gives(relevant, others):
    """E[AP] of a random order: (H_N (N - r)/(N - 1) + N (r - 1)/(N - 1)) / N."""
    total = relevant + others
    harmonic = sum(1 / k for k in range(1, total + 1))
    expected = 1.0
    if total > 1:
        expected = (harmonic * others + total * (relevant - 1)) / (total * (total - 1))
    labels = np.repeat([0, 1], [relevant, others])
    equal = np.zeros((total, 2), np.uint8)
    assert score(Comparison(equal[:1], labels[:1], equal, labels))[0] == pytest.approx(expected)


def test_perfect_and_worst_codes():
    near, far = [0x00, 0x00], [0xFF, 0xFF]
    database = np.array([near, near, far, far], np.uint8)
    labels, query = np.array([0, 0, 1, 1]), np.array([near], np.uint8)
    assert score(Comparison(query, np.array([0]), database, labels))[0] == pytest.approx(1)
    worst = (1 / 3 + 2 / 4) / 2
    assert score(Comparison(query, np.array([1]), database, labels))[0] == pytest.approx(worst)


def test_large_ranking_keeps_its_precision():
    """The closed form with harmonic numbers against the sum as the paper writes it."""
    random = np.random.default_rng(0)
    items = random.integers(0, 2000, (1, 65))
    relevant = random.binomial(items, 0.04)
    total, c, nearer = 0.0, 0, 0
    for n, r in zip(items[0].tolist(), relevant[0].tolist(), strict=True):
        for k in range(1, n + 1):
            extra = (k - 1) * (r - 1) / (n - 1) if n > 1 else 0.0
            total += r / n * (nearer + 1 + extra) / (c + k)
        c, nearer = c + n, nearer + r
    found = metrics.average_precision(Histograms(items, relevant))[0]
    assert found == pytest.approx(total / relevant.sum(), rel=1e-10)


@given(st.one_of(comparisons(), comparisons(leave_one_out=True)))
@settings(max_examples=30)
def test_mean_over_shuffles_approaches_the_expectation(comparison):
    expected = score(comparison)
    shuffles = [metrics.shuffled_average_precision(comparison, seed=s) for s in range(200)]
    spread = np.std(shuffles, axis=0) / np.sqrt(200)
    off = np.abs(np.mean(shuffles, axis=0) - expected)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(known, ~np.isnan(shuffles[0]))
    assert (off[known] <= 6 * spread[known] + 1e-9).all()


def test_shuffle_is_fixed_by_its_seed():
    random = np.random.default_rng(2)
    database, labels = random.integers(0, 256, (60, 2), np.uint8), random.integers(0, 4, 60)
    comparison = Comparison(database, labels, database, labels, leave_one_out=True)
    first = metrics.shuffled_average_precision(comparison, seed=5)
    np.testing.assert_array_equal(first, metrics.shuffled_average_precision(comparison, seed=5))
    assert (first != metrics.shuffled_average_precision(comparison, seed=6)).any()


def test_rank_beyond_the_ranking_is_refused():
    with pytest.raises(UsageError, match="ranking of 3 items"):
        metrics.relevant_at(histograms_of([0, 1, 1], [1, 0, 1]), 4)
    with pytest.raises(UsageError):
        metrics.relevant_at(histograms_of([0], [1]), 0)


def test_curve_by_radius_counts_empty_answers_as_zero():
    histograms = Histograms(np.array([[0, 2, 2], [1, 1, 2]]), np.array([[0, 1, 1], [1, 0, 1]]))
    curve = metrics.curve_by_radius(histograms)
    np.testing.assert_allclose(curve.precision, [(0 + 1) / 2, (1 / 2 + 1 / 2) / 2, 1 / 2])
    np.testing.assert_allclose(curve.recall, [1 / 4, 1 / 2, 1])
    np.testing.assert_allclose(curve.retrieved, [1 / 2, 2, 4])
    np.testing.assert_allclose(curve.answered, [1 / 2, 1, 1])


@given(comparisons())
def test_curves_end_with_the_whole_database(comparison):
    histograms = metrics.distance_histograms(comparison)
    histograms = histograms[histograms.relevant_in_database > 0]
    if not len(histograms.items):
        return
    n = np.unique([1, ceil(comparison.candidates / 2), comparison.candidates])
    by_rank, by_radius = metrics.curve_by_rank(histograms, n), metrics.curve_by_radius(histograms)
    assert by_rank.recall[-1] == pytest.approx(1) == by_radius.recall[-1]
    assert by_rank.precision[-1] == pytest.approx(by_radius.precision[-1])
    assert (np.diff(by_rank.recall) >= -1e-12).all() and (np.diff(by_radius.recall) >= 0).all()

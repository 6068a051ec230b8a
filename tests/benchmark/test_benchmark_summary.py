import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import FACTS, cell, folder
from scipy import stats

from dcsh_pg.benchmark.rows import COSINE, Row
from dcsh_pg.benchmark.summary import Mean, read
from dcsh_pg.errors import InputError

A, B = Row("A", "itq", "small"), Row("B", "lsh", "small", bits=(32,))


@given(st.lists(st.floats(0, 100), min_size=2, max_size=10), st.sampled_from([0.5, 0.8]))
def test_mean_and_corrected_interval(values, share):
    found = Mean.of(values, share)
    assert found.value == pytest.approx(np.mean(values))
    assert found.splits == len(values)
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error or 1)
    wider = np.sqrt(1 + len(values) * (1 - share) / share)
    assert found.half_width == pytest.approx(wider * (high - low) / 2 if error else 0, abs=1e-9)


def test_the_corrected_interval_covers_the_truth_that_students_misses():
    """Splits of one sample whose score is the mean of the queries: the case of the paper."""
    random = np.random.default_rng(0)
    covered = {"students": 0, "corrected": 0}
    for _ in range(300):
        sample = random.normal(size=100)
        scores = [random.choice(sample, 20, replace=False).mean() for _ in range(10)]
        mean = Mean.of(scores, 0.8)
        students = mean.half_width / np.sqrt(1 + 10 * 0.25)
        covered["students"] += abs(mean.value) <= students
        covered["corrected"] += abs(mean.value) <= mean.half_width
    assert covered["corrected"] >= 0.93 * 300 > 0.9 * 300 > covered["students"]


def test_one_split_has_no_interval():
    assert Mean.of([40.0], FACTS["database_share"]) == Mean(40.0, None, 1)


def test_scores_are_means_over_all_splits(tmp_path):
    scores = {("A", 16): (0.5, 0.6, 0.7), ("A", 32): (0.6, 0.7)}
    summary = read(folder(tmp_path, [A, B], scores))
    assert summary.score(A, 16) == Mean.of([50.0, 60.0, 70.0], FACTS["database_share"])
    assert summary.score(A, 32) is None  # a split is missing
    assert summary.score(B, 32) is None


def test_a_row_may_ask_for_fewer_splits(tmp_path):
    few = Row("few", "itq", "small", splits=2)
    scores = {("A", 16): (0.5, 0.6, 0.7), ("few", 16): (0.6, 0.6)}
    summary = read(folder(tmp_path, [A, few], scores))
    assert summary.score(few, 16) == Mean.of([60.0, 60.0], FACTS["database_share"])
    assert summary.difference(few, A, 16) == Mean.of([10.0, 0.0], FACTS["database_share"])


def test_differences_are_paired_over_the_splits(tmp_path):
    scores = {("A", 32): (0.5, 0.6, 0.7), ("B", 32): (0.6, 0.7, 0.8)}
    found = read(folder(tmp_path, [A, B], scores)).difference(B, A, 32)
    assert found.value == pytest.approx(10) and found.half_width == pytest.approx(0, abs=1e-9)
    assert read(tmp_path).difference(B, A, 16) is None


def test_the_features_themselves_are_the_same_for_all_lengths(tmp_path):
    cosine = Row(COSINE, COSINE, "small")
    summary = read(folder(tmp_path, [cosine], {(COSINE, 16): (0.5, 0.5, 0.5)}))
    assert summary.score(cosine, 16).value == summary.score(cosine, 32).value == 50


def test_failed_splits_are_reported_and_give_no_mean(tmp_path):
    scores = {("A", 16): (0.5, "it collapsed", 0.5)}
    summary = read(folder(tmp_path, [A], scores))
    assert summary.errors(A, 16) == ["it collapsed"]
    assert summary.score(A, 16) is None


def test_curves_and_seconds(tmp_path):
    scores = {("A", 16): (0.4, 0.5, 0.9)}
    summary = read(folder(tmp_path, [A], scores))
    parts = [cell("A", 16, seed, score) for seed, score in enumerate(scores["A", 16])]
    curve = summary.curve(A, 16)
    for name in ("n", "precision", "recall"):
        assert np.allclose(curve[name], np.mean([p["by_rank"][name] for p in parts], axis=0))
    assert summary.seconds(A, 16, "fit") == np.median([p["seconds"]["fit"] for p in parts])
    assert summary.curve(A, 32) is None and summary.seconds(A, 32, "fit") is None


def test_cells_that_no_row_has_any_more_are_left_out(tmp_path):
    folder(tmp_path, [A, B], {("A", 16): (0.5,) * 3, ("B", 32): (0.5,) * 3})
    summary = read(folder(tmp_path, [B], {}))
    assert {key[0] for key in summary.cells} == {"B"}
    assert summary.bits == FACTS["bits"]


def test_a_folder_without_a_benchmark_is_reported(tmp_path):
    with pytest.raises(InputError, match="does not contain a benchmark"):
        read(tmp_path)

from __future__ import annotations

import json

import numpy as np
import pytest

from dcsh_pg import codes
from dcsh_pg.errors import InputError, ModelError, UsageError
from dcsh_pg.evaluation.evaluate import evaluate


@pytest.fixture
def data():
    """40 codes of four classes: a bit pattern a class, each bit wrong now and then."""
    random = np.random.default_rng(0)
    labels = [f"class {number % 4}" for number in range(40)]
    patterns = random.random((4, 32)) < 0.5
    bits = np.array([patterns[number % 4] for number in range(40)])
    return np.packbits(bits ^ (random.random(bits.shape) < 0.15), axis=1), labels


def test_leave_one_out_is_each_code_against_all_others(data):
    packed, labels = data
    report = evaluate(packed, labels)
    single = []
    for number in range(len(packed)):
        others = [i for i in range(len(packed)) if i != number]
        single.append(
            evaluate(
                packed[others], [labels[i] for i in others], packed[[number]], [labels[number]]
            )
        )
    assert report.leave_one_out and not single[0].leave_one_out
    assert report.queries == 40
    for name in ("mean_average_precision", "chance"):
        assert getattr(report, name) == pytest.approx(np.mean([getattr(s, name) for s in single]))
    assert report.precision_at[5] == pytest.approx(np.mean([s.precision_at[5] for s in single]))
    np.testing.assert_allclose(
        report.by_radius.precision, np.mean([s.by_radius.precision for s in single], axis=0)
    )


def test_item_does_not_find_itself():
    packed = np.array([[0, 0], [0xFF, 0xFF], [0xFF, 0]], np.uint8)
    report = evaluate(packed, ["a", "a", "b"])
    assert report.queries_without_relevant == 1
    assert report.mean_average_precision == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_equal_items_do_find_each_other():
    packed = np.array([[7, 7], [7, 7], [0xFF, 0]], np.uint8)
    assert evaluate(packed, ["a", "a", "b"]).mean_average_precision == pytest.approx(1)


def test_queries_without_relevant_items_are_left_out_and_counted(data):
    packed, labels = data
    known = evaluate(packed, labels, packed[:8], labels[:8])
    more = evaluate(packed, labels, packed[:10], [*labels[:8], "unseen", "unseen"])
    assert (more.queries, more.queries_without_relevant) == (8, 2)
    assert more.mean_average_precision == pytest.approx(known.mean_average_precision)
    assert more.precision_at == pytest.approx(known.precision_at)
    assert "unseen" not in more.by_class


def test_classes_add_up_to_the_whole(data):
    report = evaluate(*data)
    assert sum(score.queries for score in report.by_class.values()) == report.queries
    weighted = sum(s.mean_average_precision * s.queries for s in report.by_class.values())
    assert weighted / report.queries == pytest.approx(report.mean_average_precision)


def test_collapsed_codes_score_chance_however_the_database_is_sorted():
    labels = sorted(f"class {number % 5}" for number in range(100))
    report = evaluate(np.zeros((100, 2), np.uint8), labels)
    assert report.mean_average_precision == pytest.approx(report.chance)
    assert (report.bit_entropy, report.constant_bits, report.distinct_codes) == (0, 16, 1)


def test_balance_of_bits():
    packed = codes.from_real(np.array([[1, -1] * 8, [-1, -1] * 8], float))
    report = evaluate(packed, ["a", "a"])
    np.testing.assert_array_equal(report.ones, [0.5, 0] * 8)
    assert (report.bit_entropy, report.constant_bits) == (0.5, 8)


def test_ranks_beyond_the_database_are_left_out(data):
    packed, labels = data
    report = evaluate(packed, labels, precision_at=(50, 39, 40, 1))
    assert list(report.precision_at) == [1, 39]
    assert report.by_rank.n[-1] == 39


def test_report_is_json(data):
    report = evaluate(*data)
    again = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert again["mean_average_precision"] == report.mean_average_precision
    assert again["by_radius"]["radius"] == list(range(33))


def test_labels_are_compared_as_text(data):
    packed, _ = data
    numbers = [number % 4 for number in range(40)]
    texts = [str(number) for number in numbers]
    mixed = evaluate(packed, numbers, packed, texts)
    assert (
        mixed.mean_average_precision
        == evaluate(packed, texts, packed, texts).mean_average_precision
    )


def test_input_that_cannot_be_evaluated(data):
    packed, labels = data
    with pytest.raises(UsageError, match="database: 40 codes, but 39 labels"):
        evaluate(packed, labels[1:])
    with pytest.raises(UsageError, match="queries: 2 codes, but no labels"):
        evaluate(packed, labels, packed[:2])
    with pytest.raises(ModelError, match=r"16 bits .* 32"):
        evaluate(packed, labels, packed[:, :2], labels)
    with pytest.raises(InputError, match="no query has an item of its class"):
        evaluate(packed, labels, packed[:1], ["unseen"])
    with pytest.raises(InputError):
        evaluate(packed[:0], [])
    with pytest.raises(UsageError, match="ranks count from 1"):
        evaluate(packed, labels, precision_at=(0, 5))

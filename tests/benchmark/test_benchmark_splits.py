from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsh_pg.benchmark.splits import stratified
from dcsh_pg.errors import InputError

UCMD = [f"class{number:02}" for number in range(21) for _ in range(100)]
AID_SIZES = [220 + 7 * number for number in range(30)]  # from 220 to 423 images, as in AID
AID = [f"class{number:02}" for number, size in enumerate(AID_SIZES) for _ in range(size)]


def test_eighty_to_twenty_of_each_class():
    split = stratified(UCMD, 0.8, seed=0)
    assert (len(split.database), len(split.queries)) == (1680, 420)
    assert set(Counter(UCMD[i] for i in split.database).values()) == {80}
    assert set(Counter(UCMD[i] for i in split.queries).values()) == {20}


def test_halves_of_classes_of_unequal_size():
    split = stratified(AID, 0.5, seed=0)
    assert abs(len(split.database) - len(split.queries)) <= 30
    database = Counter(AID[i] for i in split.database)
    assert all(abs(database[f"class{n:02}"] - size / 2) <= 0.5 for n, size in enumerate(AID_SIZES))


@given(
    sizes=st.lists(st.integers(2, 20), min_size=1, max_size=6),
    share=st.floats(0.3, 0.7),
    seed=st.integers(0, 99),
)
def test_a_split_is_a_partition_that_the_seed_decides(sizes, share, seed):
    labels = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    split, again = stratified(labels, share, seed), stratified(labels, share, seed)
    assert np.array_equal(split.database, again.database)
    assert np.array_equal(split.queries, again.queries)
    assert sorted([*split.database, *split.queries]) == list(range(len(labels)))
    for part in (split.database, split.queries):
        assert np.array_equal(part, np.sort(part))
        assert {labels[i] for i in part} == set(labels)


def test_other_seeds_give_other_splits():
    splits = {stratified(UCMD, 0.8, seed).database.tobytes() for seed in range(5)}
    assert len(splits) == 5


def test_names_of_classes_do_not_matter():
    renamed = [f"{99 - int(label[5:])}" for label in UCMD]
    plain, other = stratified(UCMD, 0.8, 3), stratified(renamed, 0.8, 3)
    assert np.array_equal(plain.database, other.database)


def test_a_class_too_small_for_both_parts_is_named():
    with pytest.raises(InputError, match=r"'lonely' has 1 image, too few .* --share 0\.8"):
        stratified([*UCMD, "lonely"], 0.8, 0)

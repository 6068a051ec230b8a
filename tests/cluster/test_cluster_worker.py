"""What goes to a worker and what comes back."""

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dcsh_pg.cluster.pipeline import BATCHES_A_GROUP, _group_size
from dcsh_pg.cluster.worker import KnownScenes, Model, Result, Task
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery import Reading, find_scenes
from dcsh_pg.ingest import ExpectedChips, Pipeline, hash_scenes

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(st.sets(digests), st.sets(digests, min_size=1))
def test_known_scenes_are_a_set(known, asked):
    compact = pickle.loads(pickle.dumps(KnownScenes(known)))
    assert len(compact) == len(known)
    assert {one for one in known | asked if one in compact} == known


@given(st.lists(st.integers(0, 10_000), max_size=9), st.integers(1, 512))
def test_a_group_is_a_few_batches_and_never_empty(chips, batch):
    expected = ExpectedChips(len(chips))
    for count in chips:
        expected.after(count)
    size = _group_size(expected, batch)
    assert 1 <= size <= batch
    mean = np.mean(chips) if chips else 0
    assert size == 1 or size * mean <= 4 / 3 * BATCHES_A_GROUP * batch


def test_scenes_and_results_arrive_as_they_left(model_file, sources):
    hasher = Hasher(model_file, device="cpu")
    reading = Reading(chip_size=64)
    scenes = find_scenes(sources, reading=reading, bands=3)
    here = list(hash_scenes(scenes, hasher))
    travelled = pickle.loads(pickle.dumps(scenes))
    for scene, at_home, away in zip(scenes, here, hash_scenes(travelled, hasher), strict=True):
        back = pickle.loads(pickle.dumps(Result.of(away))).to_hashed(scene)
        assert back.scene is scene
        assert str(back.error) == str(at_home.error)
        if at_home.record is None:
            assert back.record is None
            continue
        assert back.record.content_hash == at_home.record.content_hash
        assert back.record.properties == at_home.record.properties
        assert back.footprints == at_home.footprints
        for field in ("codes", "windows", "valid_fractions"):
            one, other = getattr(back, field), getattr(at_home, field)
            np.testing.assert_array_equal(np.concatenate(one), np.concatenate(other))


def test_what_dask_logs_of_a_task_is_short(sources):
    scenes = find_scenes(sources, reading=Reading(chip_size=64), bands=3)
    assert len(repr(Task(scenes, Pipeline(), "cpu"))) < 200
    assert len(repr(Model("ab" * 32, bytes(10_000)))) < 200
    assert len(repr(KnownScenes(["ab" * 32] * 1000))) < 200

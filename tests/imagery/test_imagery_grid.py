import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsh_pg.errors import InputError
from dcsh_pg.imagery import grid
from dcsh_pg.imagery.reading import Reading

sides = st.integers(1, 400)
sizes = st.integers(8, 96)


@st.composite
def readings(draw, edges=("shift", "pad", "drop")):
    size = draw(sizes)
    stride = draw(st.none() | st.integers(1, size))
    return Reading(chip_size=size, stride=stride, edge=draw(st.sampled_from(edges)))


def coverage(windows, width, height):
    seen = np.zeros((height, width), int)
    for left, top, w, h in windows:
        seen[top : top + h, left : left + w] += 1
    return seen


@settings(deadline=None)
@given(sides, sides, readings())
def test_windows_are_distinct_and_row_major(width, height, reading):
    windows = np.asarray(grid.windows(width, height, reading))
    assert windows.dtype == np.int32
    places = [(top, left) for left, top, _, _ in windows.tolist()]
    assert places == sorted(set(places))
    assert (windows[:, 2:] == reading.chip_size).all()


@settings(deadline=None)
@given(sides, sides, readings(edges=("shift", "pad")))
def test_shift_and_pad_cover_every_pixel(width, height, reading):
    assert coverage(np.asarray(grid.windows(width, height, reading)), width, height).min() >= 1


@settings(deadline=None)
@given(sides, sides, readings())
def test_only_padded_chips_extend_beyond_the_scene(width, height, reading):
    windows = np.asarray(grid.windows(width, height, reading))
    assert (windows[:, :2] >= 0).all() and (windows[:, :2] < [width, height]).all()
    if reading.edge == "drop" or (
        reading.edge == "shift" and min(width, height) >= reading.chip_size
    ):
        assert (windows[:, :2] + windows[:, 2:] <= [width, height]).all()


@settings(deadline=None)
@given(sides, sizes)
def test_drop_gives_the_chips_of_the_formula(length, size):
    expected = [start for start in range(0, length, size) if start + size <= length]
    assert grid.offsets(length, size, size, "drop").tolist() == expected


@settings(deadline=None)
@given(sides, sizes, st.integers(1, 300), st.sampled_from(["shift", "pad", "drop"]))
def test_a_stride_above_the_size_leaves_gaps_but_no_chip_outside(length, size, stride, edge):
    starts = grid.offsets(length, size, stride, edge)
    assert len(set(starts.tolist())) == len(starts)
    assert (starts < length).all()


def test_shift_moves_the_last_chip_inward():
    assert grid.offsets(300, 128, 128, "shift").tolist() == [0, 128, 172]
    assert grid.offsets(300, 128, 128, "pad").tolist() == [0, 128, 256]
    assert grid.offsets(300, 128, 128, "drop").tolist() == [0, 128]
    assert grid.offsets(256, 128, 64, "shift").tolist() == [0, 64, 128]


def test_no_chip_size_is_the_whole_image():
    assert np.asarray(grid.windows(640, 480, Reading())).tolist() == [[0, 0, 640, 480]]


@settings(deadline=None)
@given(st.integers(-(10**7), 10**7), sides, readings(edges=("pad", "drop")))
def test_an_anchored_grid_follows_the_crs(first, length, reading):
    """A scene from ``first`` on along a line whose grid starts at 0: anchored at -first."""
    size, stride = reading.chip_size, reading.step
    starts = grid.offsets(length, size, stride, reading.edge, anchor=-first).tolist()
    lines = range(first // stride * stride, first + length, stride)
    on_ground = [line - first for line in lines]
    if reading.edge == "drop":
        assert starts == [s for s in on_ground if s >= 0 and s + size <= length]
    else:
        enough = next(n for n, start in enumerate(on_ground) if start + size >= length)
        assert starts == on_ground[: enough + 1]


@settings(deadline=None)
@given(st.integers(-500, 500), st.integers(-500, 500), sides, sides, sizes)
def test_anchored_scenes_of_one_place_share_their_common_chips(left, top, width, height, size):
    reading = Reading(chip_size=size, edge="drop", anchor=True)
    whole = np.asarray(grid.windows(1000, 1000, reading, anchor=(0, 0)))
    part = np.asarray(grid.windows(width, height, reading, anchor=(-left, -top)))
    part[:, :2] += [left, top]
    inside = (whole[:, :2] >= [left, top]).all(1) & (
        whole[:, :2] + size <= [left + width, top + height]
    ).all(1)
    shared = (part[:, :2] >= 0).all(1) & (part[:, :2] + size <= 1000).all(1)
    assert part[shared].tolist() == whole[inside].tolist()


@settings(deadline=None)
@given(sides, sides, readings(), st.data())
def test_windows_are_indexed_like_the_array_that_they_make(width, height, reading, data):
    lazy = grid.windows(width, height, reading)
    whole = np.asarray(lazy)
    assert lazy.shape == whole.shape and len(pickle.dumps(lazy)) < 2000 + 8 * (width + height)
    bounds = st.one_of(st.none(), st.integers(-50, 50))
    part = slice(data.draw(bounds), data.draw(bounds))
    np.testing.assert_array_equal(lazy[part], whole[part])
    if len(lazy):
        index = data.draw(st.integers(-len(lazy), len(lazy) - 1))
        np.testing.assert_array_equal(lazy[index], whole[index])
        chosen = np.array(data.draw(st.lists(st.integers(0, len(lazy) - 1), max_size=5)), int)
        np.testing.assert_array_equal(lazy[chosen], whole[chosen])
    with pytest.raises(IndexError):
        lazy[len(lazy)]


def test_a_scene_with_too_many_chips_is_refused_before_they_are_made():
    with pytest.raises(InputError, match=r"a.tif would give 61,042,969 chips, more than"):
        grid.windows(10**6, 10**6, Reading(chip_size=128), uri="a.tif")
    many = grid.windows(400_000, 400_000, Reading(chip_size=128))
    assert len(many) == 9_765_625 and many[-2:].shape == (2, 4)

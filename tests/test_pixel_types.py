import numpy as np
import pytest

from dcsh_pg.pixel_types import NODATA, TYPES, PixelRange, are_valid, blank, to_type, valid_pixels

TYPED = [dtype for dtype in TYPES if dtype != "uint8"]


@pytest.mark.parametrize("dtype", TYPED)
def test_exactly_the_invalid_pixels_are_marked_whatever_their_values(dtype):
    rng = np.random.default_rng(0)
    ends = (-3e38, 3e38) if dtype == "float32" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = rng.choice([*ends, 0, 1, -1, NODATA[dtype] or 0, 7.4], (40, 50, 2))
    valid = rng.random((40, 50)) < 0.5
    pixels, found = to_type(values, valid, dtype)
    assert pixels.dtype == dtype and np.array_equal(found, valid)
    assert np.array_equal(are_valid(pixels), valid)
    assert len(valid_pixels(pixels)) == valid.sum()
    nearest = np.clip(values if dtype == "float32" else np.rint(values), *ends)
    difference = np.abs(pixels.astype(np.float64) - nearest.astype(np.float32))[valid]
    assert difference.max() <= (0 if dtype == "float32" else 1)


def test_what_float32_cannot_hold_is_invalid():
    values = np.array([[1e39, 1], [np.nan, 1], [-np.inf, 1], [1, 2]])
    _, valid = to_type(values, np.ones(4, bool), "float32")
    assert valid.tolist() == [False, False, False, True]


@pytest.mark.parametrize("dtype", TYPED)
def test_the_range_leaves_invalid_pixels_out(dtype):
    values = np.random.default_rng(0).integers(10, 100, (30, 30, 2))
    valid = np.ones((30, 30), bool)
    valid[:20] = False
    pixels, _ = to_type(values, valid, dtype)
    made = PixelRange.of(pixels, (0, 100))
    assert (made.dtype, made.low) == (dtype, tuple(values[20:].min((0, 1)).astype(float)))
    assert made.high == tuple(values[20:].max((0, 1)).astype(float))
    nothing = PixelRange.of(blank((4, 4, 2), dtype), (0, 100))
    assert nothing.low < nothing.high
    assert PixelRange.of(np.zeros((4, 4, 3), np.uint8), (0, 100)) == PixelRange()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_knots_rise_and_give_frequent_values_most_of_the_range(dtype):
    rng = np.random.default_rng(0)
    dark = rng.integers(50, 150, (95, 100, 2))
    values = np.concatenate([dark, rng.integers(8000, 9000, (5, 100, 2))])
    values[..., 1] = 7  # a band without any contrast
    pixels, _ = to_type(values, np.ones(values.shape[:2], bool), dtype)
    made = PixelRange.of(pixels, (0.1, 99.9), (25, 50, 75))
    assert (np.diff(made.points) > 0).all() and made.points.shape == (2, 5)
    scaled = made.scaled(np.array([[50, 7], [150, 7], [1e6, 7], [-5, 7]]))
    assert scaled[1, 0] - scaled[0, 0] > 0.5 and scaled[2, 0] == 1 and scaled[3, 0] == 0
    line = PixelRange.of(pixels, (0.1, 99.9))
    assert np.ptp(line.scaled(np.array([[50, 7], [150, 7]]))[:, 0]) < 0.02

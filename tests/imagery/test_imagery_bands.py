import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.pixels.bands import RGB, choose_bands, stretch_limits, to_uint8
from dcsh_pg.imagery.reading import Reading


@pytest.mark.parametrize(
    ("colours", "wanted", "explicit", "chosen"),
    [
        (["red", "green", "blue"], 3, None, (1, 2, 3)),
        (["gray", "undefined", "undefined"], 3, None, (1, 2, 3)),
        (["red", "green", "blue", "alpha"], 3, None, (1, 2, 3)),
        (["undefined", "blue", "green", "red"], 3, None, (4, 3, 2)),
        (["blue", "green", "red"], 3, None, (3, 2, 1)),
        (["alpha", "blue", "green", "red"], 3, None, (4, 3, 2)),
        (["blue", "green", "red"], 3, (1, 2, 3), (1, 2, 3)),
        (["red", "red", "blue"], 3, None, (1, 2, 3)),
        (["blue", "green", "red", "undefined"], 4, None, (1, 2, 3, 4)),
        (["gray", "alpha"], 1, None, (1,)),
        (["gray"], 3, (1, 1, 1), (1, 1, 1)),
        (["gray"] * 4, 4, None, (1, 2, 3, 4)),
    ],
)
def test_unambiguous_bands_are_chosen(colours, wanted, explicit, chosen):
    assert choose_bands(colours, wanted, Reading(bands=explicit), uri="x.tif") == chosen


@given(st.permutations([*RGB, "nir", "undefined"]), st.integers(3, 5))
def test_red_green_and_blue_are_chosen_in_any_position(colours, count):
    """A band more or less, and another order, change nothing for a model of red, green and blue."""
    file = sorted(colours, key=lambda colour: colour not in RGB)[:count]
    file = [colour for colour in colours if colour in file]
    chosen = choose_bands(file, 3, Reading(), uri="x.tif")
    assert [file[band - 1] for band in chosen] == list(RGB)


def test_an_older_archive_takes_three_bands_in_order():
    stored = Reading().to_json()
    del stored["by_colour"]
    before = Reading.from_json(stored)
    assert choose_bands(["blue", "green", "red"], 3, before, uri="x.tif") == (1, 2, 3)
    assert choose_bands(["blue", "green", "red", "nir"], 3, before, uri="x.tif") == (3, 2, 1)


@pytest.mark.parametrize(
    ("colours", "wanted", "message", "hint"),
    [
        (["gray"], 3, "x.tif has 1 band, the model takes 3", "--bands 1,1,1"),
        (["gray"] * 5, 3, "x.tif has 5 bands, the model takes 3", "--bands 1,2,3"),
        (["red", "green", "blue"], 1, "3 bands, the model takes 1", "--bands 1 for"),
        (["red", "green", "blue"], 13, "3 bands, the model takes 13", "imagery of 13 bands, or"),
        (["gray"], 2, "1 band, the model takes 2", "imagery of 2 bands, or"),
        (["gray"] * 20, 13, "20 bands, the model takes 13", "--bands 1,2,...,13"),
    ],
)
def test_ambiguous_bands_are_refused_with_a_hint(colours, wanted, message, hint):
    with pytest.raises(InputError, match=message) as refusal:
        choose_bands(colours, wanted, Reading(), uri="x.tif")
    assert hint in refusal.value.hint


def test_a_missing_band_is_refused():
    with pytest.raises(InputError, match="--bands contains 4"):
        choose_bands(["gray"] * 3, 3, Reading(bands=(1, 2, 4)), uri="x.tif")


def test_stretch_is_linear_clipped_and_black_where_invalid():
    data = np.array([[[-5.0, 0, 40, 100, 999, np.nan]]], np.float32)
    valid = np.isfinite(data[0])
    pixels = to_uint8(data, valid, np.array([[0.0, 100.0]]))
    assert pixels[0, :, 0].tolist() == [0, 0, 102, 255, 255, 0]


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_percentiles_ignore_invalid_pixels_and_shift_and_scale_with_the_data(offset, factor):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(2, 20, 20))
    valid = rng.random((20, 20)) < 0.8
    spoiled = np.where(valid, data * factor + offset, 1e12)
    limits = stretch_limits(spoiled, valid, Reading(scale="auto"))
    plain = np.percentile(data[:, valid], [2, 98], axis=1).T
    np.testing.assert_allclose(limits, plain * factor + offset, rtol=1e-6, atol=1e-6 * factor)


def test_a_constant_band_still_has_limits():
    limits = stretch_limits(np.full((1, 4, 4), 7.0), np.ones((4, 4), bool), Reading())
    assert limits[0, 0] < limits[0, 1]

"""The part of the Earth that a map shows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from shapely import MultiPolygon, box

from dcsh_pg.results.view import View, latitude, longitude

CORNERS = st.tuples(
    st.integers(-1800, 1700).map(lambda tenths: tenths / 10),
    st.integers(-800, 790).map(lambda tenths: tenths / 10),
    st.sampled_from([0.001, 0.5, 3.0]),
)


def squares(corners):
    return [box(x, y, x + side, y + side) for x, y, side in corners]


@given(st.lists(CORNERS, min_size=1, max_size=6))
def test_everything_lies_in_the_view_where_it_is_on_earth(corners):
    geometries = squares(corners)
    view = View.of(geometries)
    frame = box(view.west, view.south, view.east, view.north)
    assert view.width <= 360 and -90 <= view.south < view.north <= 90
    for geometry in geometries:
        moved = view.moved_in(geometry)
        assert frame.buffer(1e-9).covers(moved)
        turn = np.subtract(moved.bounds, geometry.bounds)
        assert turn[[1, 3]].tolist() == [0, 0] and turn[0] in (0, 360)


@given(st.lists(CORNERS, min_size=1, max_size=6))
def test_no_turn_of_the_earth_gives_a_narrower_view(corners):
    geometries = squares(corners)
    bounds = shapely.bounds(geometries)

    def width(start):
        """Of the least interval of longitudes from ``start`` on that holds all."""
        west = (bounds[:, 0] - start) % 360
        return (west + bounds[:, 2] - bounds[:, 0]).max()

    narrowest = min(width(west) for west in bounds[:, 0])
    view = View.of(geometries)
    shown = shapely.total_bounds([view.moved_in(geometry) for geometry in geometries])
    assert shown[2] - shown[0] == pytest.approx(narrowest)


def test_halves_at_the_antimeridian_become_one():
    area = MultiPolygon([box(175, -20, 180, -10), box(-180, -20, -170, -10)])
    moved = View.of([area]).moved_in(area)
    assert moved.equals(box(175, -20, 190, -10))


def test_one_square_does_not_fill_the_map():
    square = box(8, 48, 8.001, 48.001)
    view = View.of([square])
    assert view.height > 2 * 0.001
    assert view.width / view.stretch == pytest.approx(view.height)


def test_nothing_is_the_whole_earth():
    assert View.of([]) == View(-180, -90, 180, 90)


@given(st.floats(-70, 70), st.floats(-4, 1).map(lambda power: 10**power), st.floats(-170, 170))
def test_scale_bar_is_as_long_as_it_says(lat, side, lon):
    view = View.of([box(lon, lat, lon + side, lat + side / 2)])
    length, words = view.scale_bar()
    number, unit = words.split()
    metres = float(number.replace(",", "")) * {"m": 1, "km": 1000}[unit]
    y = (view.south + view.north) / 2
    # From half a degree on a chord along the parallel is seen from the geodesic.
    steps = np.linspace(0, length, 100)
    along = Geod(ellps="WGS84").inv(steps[:-1], [y] * 99, steps[1:], [y] * 99)[2].sum()
    assert along == pytest.approx(metres, rel=1e-3)
    assert view.width / 14 < length <= view.width / 5 * (1 + 1e-9)
    mantissa = metres / 10 ** math.floor(math.log10(metres) + 1e-9)
    assert min(abs(mantissa - step) for step in (1, 2, 5)) < 1e-6


def test_no_scale_bar_where_the_scale_changes_over_the_map():
    assert View.of([box(-120, 20, -60, 60)]).scale_bar() is None


@pytest.mark.parametrize(
    ("degrees", "text"),
    [(0, "0°"), (-77.25, "77.25°W"), (180, "180°"), (-180, "180°"), (190, "170°W"), (360, "0°"),
     (0.1 + 0.2, "0.3°E"), (np.float64(150), "150°E")],
)  # fmt: skip
def test_longitudes(degrees, text):
    assert longitude(degrees) == text


@pytest.mark.parametrize(("degrees", "text"), [(0, "0°"), (-33.5, "33.5°S"), (38.9, "38.9°N")])
def test_latitudes(degrees, text):
    assert latitude(degrees) == text

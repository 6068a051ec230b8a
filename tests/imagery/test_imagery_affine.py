import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer
from rasterio import Affine
from rasterio.transform import from_origin
from shapely.geometry import Point, box

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.georeference.affine import AffineGeoreference
from dcsh_pg.imagery.georeference.footprint import MAX_DEVIATION

CHIPS = np.array([[0, 0, 64, 64], [64, 32, 64, 64]])


def place(code, transform):
    return AffineGeoreference(CRS.from_user_input(code).to_wkt(), transform, uri="x.tif")


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 360), st.floats(-0.3, 0.3), st.sampled_from([1, -1]))
def test_footprints_are_the_true_corners_of_rotated_sheared_and_mirrored_rasters(
    angle, shear, mirror
):
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    across, down = np.array([cos, sin]), mirror * np.array([shear * cos - sin, shear * sin + cos])
    origin = np.array([500_000, 5_300_000])
    transform = Affine(across[0], down[0], origin[0], across[1], down[1], origin[1])
    to_lonlat = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    for (left, top, width, height), footprint in zip(
        CHIPS, place("EPSG:32632", transform).footprints(CHIPS), strict=True
    ):
        corners = [(left + x * width, top + y * height) for x in (0, 1) for y in (0, 1)]
        expected = {
            tuple(
                np.round(to_lonlat.transform(*(origin + corner[0] * across + corner[1] * down)), 9)
            )
            for corner in corners
        }
        assert {tuple(np.round(c, 9)) for c in footprint.exterior.coords} == expected
        assert footprint.exterior.is_ccw and footprint.is_valid
        assert len(footprint.exterior.coords) == 5


def test_edges_are_divided_only_where_straight_lines_deviate():
    small = place("EPSG:3413", from_origin(-2e6, -5e5, 1, 1))
    large = place("EPSG:3413", from_origin(-2e6, -5e5, 2000, 2000))
    assert len(small.footprints(CHIPS)[0].exterior.coords) == 5
    footprint = large.footprints(CHIPS)[0]
    assert len(footprint.exterior.coords) > 5
    back = Transformer.from_crs("EPSG:4326", "EPSG:3413", always_xy=True)
    middles = np.array(footprint.exterior.coords)
    middles = (middles[1:] + middles[:-1]) / 2
    x, y = back.transform(*middles.T)
    edges = box(-2e6, -5e5 - 64 * 2000, -2e6 + 64 * 2000, -5e5).exterior
    assert max(edges.distance(Point(p)) for p in zip(x, y, strict=True)) < 2 * MAX_DEVIATION * 2000


def test_a_footprint_across_the_antimeridian_keeps_its_larger_part():
    footprint = place("EPSG:4326", from_origin(179.99, 10, 0.001, 0.001)).footprints(CHIPS)[0]
    np.testing.assert_allclose(footprint.bounds, (-180, 9.936, -179.946, 10))
    assert footprint.exterior.is_ccw


def test_longitudes_beyond_180_are_wrapped():
    footprint = place("EPSG:4326", from_origin(200, 10, 0.001, 0.001)).footprints(CHIPS)[0]
    np.testing.assert_allclose(footprint.bounds, (-160, 9.936, -159.936, 10))


@pytest.mark.parametrize(
    ("code", "transform", "metres"),
    [
        ("EPSG:32632", from_origin(500_000, 5_300_000, 0.6, 0.6), 0.6),
        ("EPSG:4326", from_origin(0, 0.05, 0.001, 0.001), 110.95),
        ("EPSG:3857", from_origin(0, 8_399_737.9, 2, 2), 1.0),
        ("EPSG:2263", from_origin(1_000_000, 200_000, 1, 1), 0.3048),
    ],
)
def test_resolution_is_in_metres_on_the_ground(code, transform, metres):
    assert place(code, transform).resolution(100, 100) == pytest.approx(metres, rel=4e-3)


def test_bounds_are_filled_north_up():
    filled = AffineGeoreference.of_bounds((10, 50, 10.2, 50.1), 20, 10, uri="x.jpg")
    whole = np.array([[0, 0, 20, 10]])
    np.testing.assert_allclose(filled.footprints(whole)[0].bounds, (10, 50, 10.2, 50.1))
    upper_left = filled.lonlat(np.array([0.0, 0.0]))
    np.testing.assert_allclose(upper_left, (10, 50.1))


def test_a_crs_that_cannot_be_transformed_is_refused():
    local = AffineGeoreference(
        'LOCAL_CS["site",UNIT["metre",1]]', from_origin(0, 0, 1, 1), uri="x.tif"
    )
    with pytest.raises(InputError, match=r"x\.tif"):
        local.footprints(CHIPS)


def test_footprint_area_equals_window_area():
    footprint = place("EPSG:32632", from_origin(500_000, 5_300_000, 1, 1)).footprints(CHIPS)[0]
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(footprint)
    assert area == pytest.approx(64 * 64, rel=1e-3)

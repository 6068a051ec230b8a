"""Footprints anywhere on Earth: valid, where the pixels are, and of the area that the window has."""

import numpy as np
import pytest
import shapely
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer
from rasterio import Affine
from rasterio.transform import from_origin

from dcsh_pg.database.archives.source_table import SourceRow
from dcsh_pg.imagery.georeference.affine import AffineGeoreference
from dcsh_pg.imagery.metadata.image import ImageMetadata
from dcsh_pg.imagery.sources.table import table_listing

GEOD = Geod(ellps="WGS84")
NORTH, SOUTH, DEGREES = "EPSG:3413", "EPSG:3031", "EPSG:4326"
ELSEWHERE = ["EPSG:32601", "EPSG:32660", "EPSG:32701", "EPSG:3857", "EPSG:3832", "EPSG:6933"]
ROTATED_POLE = "+proj=ob_tran +o_proj=longlat +o_lon_p=170 +o_lat_p=40 +lon_0=180 +type=crs"


@st.composite
def places(draw):
    """A place near the antimeridian or a pole, and the size of a window there."""
    code = draw(st.sampled_from([*ELSEWHERE, NORTH, SOUTH, DEGREES, ROTATED_POLE]))
    lon = draw(st.sampled_from([180.0, -180.0]) | st.floats(179.5, 180.5))
    lat = draw(st.floats(-75, 75))
    if code in (NORTH, SOUTH):
        lat = draw(st.sampled_from([90.0, 89.99]) | st.floats(80, 90)) * (
            1 if code == NORTH else -1
        )
    if code == DEGREES:
        x, y = lon, lat
    else:
        to_crs = Transformer.from_crs("EPSG:4326", code, always_xy=True)
        x, y = to_crs.transform((lon + 180) % 360 - 180, lat)
    if code == ROTATED_POLE:
        assume(abs(y) < 80)  # the CRS's own pole, where it has no pixels
    is_angular = code in (DEGREES, ROTATED_POLE)
    pixel = draw(st.floats(1e-6, 1e-2) if is_angular else st.floats(0.3, 1000))
    size = draw(st.integers(16, 128))
    start = draw(st.sampled_from([0, size / 2, size]) | st.floats(0, size))
    angle = draw(st.sampled_from([0.0, 90.0]) | st.floats(0, 360))
    mirror = draw(st.sampled_from([-1, 1]))
    transform = (
        Affine.translation(x, y)
        @ Affine.rotation(angle)
        @ Affine.scale(pixel, mirror * pixel)
        @ Affine.translation(-start, -start)
    )
    return code, transform, size


def geodesic_area(lonlat):
    return abs(GEOD.polygon_area_perimeter(*lonlat.T)[0])


def area(polygon):
    """Square metres, with the edges taken as straight lines in degrees."""
    edges = np.array(polygon.exterior.coords)
    share = np.linspace(0, 1, 64, endpoint=False)[:, None, None]
    dense = np.moveaxis(edges[:-1] + share * np.diff(edges, axis=0), 0, 1)
    return geodesic_area(dense.reshape(-1, 2))


@settings(max_examples=150, deadline=None)
@given(places())
@example(("EPSG:3857", Affine(589, 0, 19981848.6, 0, -589, 1.3e-306), 95))
@example(("EPSG:3413", Affine(1, 0, -8, 0, -1, 8), 16))
def test_a_footprint_is_valid_and_has_the_area_and_the_pixels_of_its_window(case):
    code, transform, size = case
    place = AffineGeoreference(CRS.from_user_input(code).to_wkt(), transform, uri="x.tif")
    (footprint,) = place.footprints(np.array([[0, 0, size, size]]))
    assert footprint.is_valid and footprint.exterior.is_ccw
    west, south, east, north = footprint.bounds
    assert west >= -180 and east <= 180 and south >= -90 and north <= 90

    along = np.linspace(0, size, 257)[:-1]
    none, full = np.zeros(256), np.full(256, size)
    sides = [(none, along), (along, full), (full, size - along), (size - along, none)]
    edge = place.lonlat(np.concatenate([np.stack(side, axis=-1) for side in sides]))
    inside = np.stack(np.meshgrid(*[np.linspace(1, size - 1, 9)] * 2), axis=-1).reshape(-1, 2)
    points = place.lonlat(inside)
    lon = (points[:, 0] + 180) % 360 - 180
    holds = shapely.intersects_xy(footprint, lon, points[:, 1])
    share = area(footprint) / geodesic_area(edge)

    is_cut = west == -180 or east == 180
    if holds.all() or not is_cut:
        assert holds.all() and share == pytest.approx(1, rel=1.5 / size + 1e-3)
    else:
        assert 0.5 - 1.5 / size <= share <= 1 + 1.5 / size
        same_side = np.sign(lon) == np.sign(footprint.centroid.x)
        on_edge = np.abs(lon) > 180 - 1e-9
        assert (holds == same_side)[~on_edge].all()


def test_a_world_raster_has_a_world_footprint():
    """Its pixels are centred on the poles and on the first meridian, as those of reanalyses are."""
    world = AffineGeoreference(
        CRS.from_epsg(4326).to_wkt(), from_origin(-0.125, 90.125, 0.25, 0.25), uri="x"
    )
    (footprint,) = world.footprints(np.array([[0, 0, 1440, 721]]))
    assert footprint.is_valid and footprint.bounds == (-180, -90, 180, 90)
    assert footprint.area == pytest.approx(360 * 180)
    mercator = AffineGeoreference(
        CRS.from_epsg(3857).to_wkt(), from_origin(-2e7, 2e7, 1e5, 1e5), uri="x"
    )
    (footprint,) = mercator.footprints(np.array([[0, 0, 400, 400]]))
    assert footprint.bounds == pytest.approx((-179.66, -85, 179.66, 85), abs=0.1)


def test_a_window_that_holds_a_pole_keeps_its_corners():
    polar = AffineGeoreference(
        CRS.from_epsg(3413).to_wkt(), from_origin(-3000, 3000, 100, 100), uri="x"
    )
    (footprint,) = polar.footprints(np.array([[0, 0, 60, 60]]))
    assert footprint.bounds[0] == -180 and footprint.bounds[2] == 180
    to_crs = Transformer.from_crs("EPSG:4326", "EPSG:3413", always_xy=True)
    edge = np.array([point for point in footprint.exterior.coords if abs(point[1]) < 90])
    reach = np.abs(np.stack(to_crs.transform(*edge.T))).max(axis=0)
    np.testing.assert_allclose(reach, 3000, atol=51)


def test_a_footprint_of_a_table_across_the_antimeridian_is_its_larger_part():
    row = SourceRow("a.tif", shapely.Polygon([(8.1e5, 0), (8.45e5, 0), (8.3e5, 3e4)]), "EPSG:32660")
    [listed] = table_listing([row], table="tiles")
    footprint = listed.metadata.footprint
    assert footprint.is_valid and footprint.bounds[2] == 180 and footprint.bounds[0] > 179.4


def test_a_picture_centred_on_the_antimeridian_has_a_small_footprint():
    record = ImageMetadata("sidecar", centre=(179.9999, -16.5, 1.0))
    (footprint,) = record.georeference(100, 80, uri="a.jpg").footprints(np.array([[0, 0, 100, 80]]))
    assert footprint.bounds[2] == 180 and 4000 < area(footprint) < 8000
    polar = ImageMetadata("sidecar", centre=(10.0, 89.9999, 1.0))
    (footprint,) = polar.georeference(100, 80, uri="a.jpg").footprints(np.array([[0, 0, 100, 80]]))
    assert footprint.is_valid and footprint.bounds[3] == 90

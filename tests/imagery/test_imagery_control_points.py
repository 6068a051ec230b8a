"""Rasters that ground control points or rational polynomials place, and those that nothing does."""

import numpy as np
import pytest
import rasterio
from pyproj import CRS, Transformer
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import from_origin
from shapely.geometry import Point

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.reading import Reading

WIDTH, HEIGHT = 130, 100
MARS = (
    'GEOGCS["GCS_Mars_2000",DATUM["D_Mars_2000",SPHEROID["Mars_2000_IAU_IAG",3396190,169.8944]],'
    'PRIMEM["Reference_Meridian",0],UNIT["Degree",0.0174532925199433]]'
)


@pytest.fixture
def write(tmp_path, noise_rgb):
    """Writes a raster without a transform, with what else it is to have."""

    def write(*, rpcs=None, **profile):
        path = tmp_path / "a.tif"
        with rasterio.open(
            path, "w", driver="GTiff", count=3, height=HEIGHT, width=WIDTH, dtype="uint8", **profile
        ) as target:
            target.write(noise_rgb)
            if rpcs:
                target.rpcs = rpcs
        return path

    return write


def control_points(ground, columns=8, rows=6):
    """Points on a grid over the image; ``ground`` brings columns and rows to x and y."""
    col, row = np.meshgrid(np.linspace(0, WIDTH, columns), np.linspace(0, HEIGHT, rows))
    x, y = ground(col.ravel(), row.ravel())
    return [
        GroundControlPoint(r, c, x, y)
        for r, c, x, y in zip(row.ravel(), col.ravel(), x, y, strict=True)
    ]


def bent_swath(lon_0, lat_0):
    """A swath whose rows lie on circles, 50 m a pixel: columns and rows -> lon, lat."""
    plane = CRS.from_proj4(f"+proj=aeqd +lat_0={lat_0} +lon_0={lon_0} +datum=WGS84")
    to_lonlat = Transformer.from_crs(plane, "EPSG:4326", always_xy=True)

    def ground(col, row):
        angle, radius = col / WIDTH / 4, 20_000 + 50 * row
        return to_lonlat.transform(radius * np.sin(angle), 20_000 - radius * np.cos(angle))

    return ground


def pixels_in_footprints(scene, ground):
    """Whether the middle of each chip lies in its own footprint, and in no other's inner part."""
    record = scene.describe()
    chips = scene.read(record.windows)
    assert len(chips.footprints) == len(chips.windows)
    for window, footprint in zip(chips.windows, chips.footprints, strict=True):
        lon, lat = ground(*(window[:2] + window[2:] / 2).astype(float))
        assert footprint.is_valid
        assert footprint.intersects(Point((lon + 180) % 360 - 180, lat))
    return record


def test_control_points_that_fit_an_affine_transform_give_that_transform(write, one_scene):
    points = control_points(lambda col, row: (500_000 + 2 * col, 5_300_000 - 2 * row))
    record = one_scene(write(gcps=points, crs="EPSG:32632")).describe()
    assert record.resolution == pytest.approx(2, rel=1e-2)
    assert record.proj_code == "EPSG:32632"


@pytest.mark.parametrize(("lon", "lat"), [(10, 50), (180, -20), (30, 89.98)])
def test_other_control_points_place_every_chip_by_a_spline(lon, lat, write, one_scene):
    ground = bent_swath(lon, lat)
    path = write(gcps=control_points(ground), crs="EPSG:4326")
    record = pixels_in_footprints(one_scene(path, Reading(chip_size=16)), ground)
    assert record.proj_code == "EPSG:4326"
    assert record.resolution == pytest.approx(46.5, abs=0.2)


def test_many_control_points_are_thinned_and_still_fit(write, one_scene):
    ground = bent_swath(10, 50)
    path = write(gcps=control_points(ground, 60, 50), crs="EPSG:4326")
    pixels_in_footprints(one_scene(path, Reading(chip_size=16)), ground)


@pytest.mark.parametrize(
    "ground",
    [
        lambda col, row: (col * 0 + 10, row * 0 + 50),
        lambda col, row: (10 + col / 1e4, 50 + col / 1e4),
        lambda col, row: (10 + col / np.where(row > 50, 0, 1e4), 50 + row / 1e4),
    ],
)
def test_unusable_control_points_are_refused_unless_allowed(ground, write, one_scene):
    with np.errstate(divide="ignore"):
        path = write(gcps=control_points(ground), crs="EPSG:4326")
    with pytest.raises(InputError, match=r"a\.tif") as refusal:
        one_scene(path).describe()
    assert "--no-georeference" in refusal.value.hint
    assert one_scene(path, georeference=False).describe().proj_code is None


def coefficients(**terms):
    values = np.zeros(20)
    for name, value in terms.items():
        values[int(name[1:])] = value
    return values.tolist()


def polynomials(lon, lat):
    """RPCs under which longitudes grow with columns and with heights; 10 m a row."""
    return RPC(
        height_off=300, height_scale=500, lat_off=lat, lat_scale=50e-4, line_off=49.5,
        line_scale=50, long_off=lon, long_scale=65e-4, samp_off=64.5, samp_scale=65,
        line_num_coeff=coefficients(_2=-1.0), line_den_coeff=coefficients(_0=1.0),
        samp_num_coeff=coefficients(_1=1.0, _3=0.5), samp_den_coeff=coefficients(_0=1.0),
    )  # fmt: skip


@pytest.mark.parametrize("lon", [10, 180])
def test_rpcs_place_every_chip_at_the_mean_terrain_height(lon, write, one_scene):
    scene = one_scene(write(rpcs=polynomials(lon, 50)), Reading(chip_size=16))

    def ground(col, row):
        return lon + (col - 65) / 1e4, 50 - (row - 50) / 1e4

    record = pixels_in_footprints(scene, ground)
    assert record.proj_code == "EPSG:4326"
    assert record.resolution == pytest.approx(8.9, abs=0.1)


def test_unusable_rpcs_are_refused_unless_allowed(write, one_scene):
    one = [1.0] * 20
    path = write(
        rpcs=RPC(0, 1, 0, 1, one, one, 0, 1, 0, 1, one, one, 0, 1),
    )
    with pytest.raises(InputError, match="RPC") as refusal:
        one_scene(path).describe()
    assert "--no-georeference" in refusal.value.hint
    assert one_scene(path, georeference=False).describe().proj_code is None


@pytest.mark.parametrize(
    ("crs", "transform", "message"),
    [
        (MARS, from_origin(10, 50, 0.01, 0.01), "is not on Earth.*GCS_Mars_2000"),
        ('LOCAL_CS["site",UNIT["metre",1]]', from_origin(1, 0, 1, 1), "EPSG:4326: 'site'"),
        ("+proj=ortho +lat_0=50", from_origin(-7e6, 7e6, 1e5, 1e5), "domain"),
        ("EPSG:32632", Affine(0, 0, 500_000, 0, 0, 5_300_000), "no area"),
    ],
)
def test_an_unusable_georeference_is_refused_unless_allowed(
    crs, transform, message, write_raster, one_scene, noise_rgb
):
    path = write_raster("a.tif", noise_rgb, crs=crs, transform=transform)
    with pytest.raises(InputError, match=message) as refusal:
        one_scene(path).describe()
    assert "PROJ" not in refusal.value.message
    assert "--no-georeference" in refusal.value.hint
    scene = one_scene(path, georeference=False)
    record = scene.describe()
    assert (record.proj_code, record.resolution) == (None, None)
    assert scene.read(record.windows).footprints is None

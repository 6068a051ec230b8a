import json

import numpy as np
import pytest
from PIL import Image
from pyproj import Geod

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import find_scenes

BOX = "POLYGON((10 50,10.1 50,10.1 50.1,10 50.1,10 50))"
SLANTED = "POLYGON((10 50,10.1 50.02,10.08 50.1,10 50.1,10 50))"


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "forest").mkdir(parents=True)
    for name in ("forest/a.png", "b.png"):
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(folder / name)
    return folder


def describe(pictures, text, suffix="csv", reading=None):
    sidecar = pictures.parent / f"side.{suffix}"
    sidecar.write_text(text)
    scenes = find_scenes([str(pictures)], reading=reading or Reading(), bands=3, sidecar=sidecar)
    return {scene.uri.rpartition("/")[2]: (scene, scene.describe()) for scene in scenes}


@pytest.mark.parametrize(
    "place",
    [f'wkt\nb.png,2021-07-14,x,"{BOX}"', 'bbox\nb.png,2021-07-14,x,"10,50,10.1,50.1"'],
)
def test_csv_gives_footprint_date_and_properties(pictures, place):
    scene, record = describe(pictures, f"file,date,Owner,{place}\n")["b.png"]
    (footprint,) = scene.read(record.windows).footprints
    np.testing.assert_allclose(footprint.bounds, (10, 50, 10.1, 50.1))
    assert record.acquired.isoformat() == "2021-07-14T00:00:00+00:00"
    assert record.properties["Owner"] == "x" and record.resolution > 0


def test_a_centre_and_a_resolution_make_a_footprint(pictures):
    scene, record = describe(pictures, "file,lon,lat,resolution\nb.png,10,50,2\n")["b.png"]
    assert record.resolution == pytest.approx(2, rel=1e-3)
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(scene.read(record.windows).footprints[0])
    assert area == pytest.approx(60 * 40 * 4, rel=1e-3)


def test_geojson_finds_names_with_and_without_their_folder(pictures):
    polygon = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    features = [
        {"type": "Feature", "properties": {"file": name, "cloud": 3}, "geometry": polygon}
        for name in ("forest/a.png", "b.png")
    ]
    text = json.dumps({"type": "FeatureCollection", "features": features})
    found = describe(pictures, text, "geojson")
    assert found["a.png"][1].properties == {
        "class": "forest", "cloud": 3, "driver": "PNG", "mode": "RGB",
    }  # fmt: skip
    bare = describe(pictures, "file,bbox\na.png,0 0 1 1\n")
    assert bare["a.png"][1].proj_code == "EPSG:4326" and bare["b.png"][1].proj_code is None


def test_a_box_is_divided_into_chips_and_another_shape_is_not(pictures):
    cut = Reading(chip_size=20)
    scene, record = describe(pictures, f'file,wkt\nb.png,"{BOX}"\n', reading=cut)["b.png"]
    footprints = scene.read(record.windows).footprints
    np.testing.assert_allclose(footprints[0].bounds, (10, 50.05, 10 + 0.1 / 3, 50.1))
    scene, record = describe(pictures, f'file,wkt\nb.png,"{SLANTED}"\n', reading=cut)["b.png"]
    with pytest.raises(InputError, match="cannot be divided"):
        scene.read(record.windows)
    whole, record = describe(pictures, f'file,wkt\nb.png,"{SLANTED}"\n')["b.png"]
    assert len(whole.read(record.windows).footprints[0].exterior.coords) == 5


def test_the_sidecar_row_is_part_of_the_identity(pictures):
    hashes = {
        describe(pictures, f"file,bbox\nb.png,0 0 1 {north}\n")["b.png"][1].content_hash
        for north in (1, 2)
    }
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,wkt\nb.png,x\n", "no column 'file'"),
        ("file,wkt\nb.png,POLYGON((\n", "line 2"),
        ("file,bbox\nb.png,10,50,10.1,50.1\n", "line 2: more values"),
        ("file,bbox\nb.png,500000 0 500010 10\n", "line 2: coordinates out of range"),
        ("file,lon,lat\nb.png,10,50\n", "line 2: .* without resolution"),
        ("file,date\nb.png,soon\n", "line 2: invalid date: 'soon'"),
        ("file,x\nb.png,1\nb.png,2\n", "line 3: duplicate entry for b.png"),
        ("file,wkt\nb.png,POINT(1 1)\n", "line 2: .* Point"),
        ("file,x\nother.png,1\n", "matches none of the 2 images"),
        ('{"type": "Feature"}', "is not a GeoJSON FeatureCollection"),
    ],
)
def test_errors_name_the_row(pictures, text, message):
    with pytest.raises(InputError, match=message):
        describe(pictures, text)


def test_a_missing_sidecar_is_refused(pictures):
    with pytest.raises(InputError, match="no such sidecar"):
        find_scenes([str(pictures)], reading=Reading(), bands=3, sidecar=pictures / "none.csv")


def test_a_sidecar_georeferences_a_raster_without_crs(write_raster, noise_rgb, tmp_path):
    path = write_raster("r.tif", noise_rgb, crs=None)
    (tmp_path / "s.csv").write_text("file,bbox\nr.tif,0 0 1 1\n")
    (scene,) = find_scenes(
        [str(path)], reading=Reading(chip_size=64), bands=3, sidecar=tmp_path / "s.csv"
    )
    record = scene.describe()
    assert len(scene.read(record.windows).footprints) == 6

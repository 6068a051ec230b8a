"""Imagery and base maps in QGIS projects."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin
from synthetic import Scene, add, new_archive

from dcsh_pg import Archive
from dcsh_pg.catalog.qgis_rasters import base_map
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import UsageError

TILES = "http://127.0.0.1:1/a b/{z}/{x}/{y}.png?key=1&x=2"


def raster(path, dtype, bands):
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (bands, 64, 64), dtype=dtype)
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=64, count=bands, dtype=dtype,
        crs="EPSG:32630", transform=from_origin(700_000, 4_400_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(values)
    return str(path)


@pytest.fixture
def places(postgis_database, tmp_path):
    """A scene a chip, the chips in the order of their distance to the first."""
    deep = {"bands": [4, 2, 1], "dtype": "uint16"}
    scenes = [
        Scene(raster(tmp_path / "eight.tif", "uint8", 3), properties={"bands": [1, 2, 3], "dtype": "uint8"}),
        Scene(raster(tmp_path / "deep.tif", "uint16", 5), properties=deep, proj_code="EPSG:32630"),
        Scene(str(tmp_path / "absent.tif")),
        Scene("WMS:http://127.0.0.1:1/?layers=x"),
        Scene("/vsizip//etc/x.zip/x.tif"),
        Scene(raster(tmp_path / "picture.tif", "uint8", 3), proj_code=None),
        Scene(raster(tmp_path / "one.tif", "uint8", 1), properties={"bands": [1], "dtype": "uint8"}),
    ]  # fmt: skip
    conn = connect(postgis_database)
    loader = Loader(conn, new_archive(conn, "places"))
    for number, scene in enumerate(scenes):
        code = np.zeros((1, 8), np.uint8)
        code[0, :number] = 1
        add(loader, scene, code, [shapely.box(0, number, 1, number + 1)])
    loader.flush()
    yield Archive(conn, registry.get_archive(conn, "places"))
    conn.close()


def test_the_scenes_of_the_hits_lie_below_them(places, look_in_qgis, tmp_path):
    [project] = places.to_qgis(tmp_path / "map.qgz", places.query_chip(1), basemap=TILES)
    seen = look_in_qgis(project)
    assert list(seen) == ["chip 1", "nearest to chip 1", "chips of places", "deep.tif", "one.tif", "base map"]  # fmt: skip
    assert all(layer["valid"] for layer in seen.values())
    assert seen["deep.tif"]["bands"] == [4, 2, 1] and seen["one.tif"]["bands"] is None
    assert seen["deep.tif"]["crs"] == "EPSG:32630" and seen["base map"]["crs"] == "EPSG:3857"


def test_the_number_of_scenes_is_limited(places, look_in_qgis, tmp_path):
    for most, expected in ((0, set()), (1, {"deep.tif"})):
        [project] = places.to_qgis(tmp_path / "map.qgz", places.query_chip(1), scenes=most)
        assert {name for name in look_in_qgis(project) if name.endswith(".tif")} == expected


def test_hits_are_outlines_above_imagery(places, tmp_path):
    def fills(scenes):
        [project] = places.to_qgis(tmp_path / "map.qgs", places.query_chip(1), scenes=scenes)
        hits = ElementTree.parse(project).find(".//renderer-v2[@type='graduatedSymbol']")
        return {option.get("value") for option in hits.iterfind(".//Option[@name='style']")}

    assert fills(8) == {"no"}
    assert fills(0) == {"solid"}


def test_a_base_map_must_be_a_template():
    assert "a%20b/%7Bz%7D" in base_map(TILES).source and "%26x%3D2" in base_map(TILES).source
    for url in ("tiles/{z}/{x}/{y}.png", "https://example.org/{z}/{x}.png"):
        with pytest.raises(UsageError, match="is not a template of tiles"):
            base_map(url)

"""The chips of an archive as columns and as a GeoDataFrame, on every kind of server."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
import shapely
from shapely import box
from synthetic import Scene, add, new_archive

from dcsh_pg import Archive
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search.chips import COLUMNS, chips
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.errors import NotFound, UsageError

DAY = datetime(2021, 6, 1, tzinfo=timezone.utc)


@pytest.fixture
def codes(random_codes) -> np.ndarray:
    return random_codes(30)


@pytest.fixture
def footprints() -> list[shapely.Polygon]:
    corners = np.random.default_rng(1).uniform([-60, -30], [60, 30], (20, 2)).round(3)
    return [box(x, y, x + 2, y + 1) for x, y in corners]


@pytest.fixture
def filled(conn, codes, footprints):
    """Ten chips of each of two days, and ten with neither place nor time."""
    loader = Loader(conn, new_archive(conn, "a"))
    for n in range(2):
        scene = Scene(f"{n}.tif", acquired=DAY + timedelta(days=n))
        add(loader, scene, codes[10 * n : 10 * n + 10], footprints[10 * n : 10 * n + 10])
    add(loader, Scene("nowhere.png"), codes[20:])
    loader.flush()
    return conn


def test_every_chip_is_returned_as_it_was_stored(filled, codes, footprints):
    columns, places = chips(filled, "a")
    assert list(columns) == list(COLUMNS)
    assert columns["id"] == list(range(1, 31))
    assert columns["code"] == [code.tobytes().hex() for code in codes]
    assert columns["uri"] == ["0.tif"] * 10 + ["1.tif"] * 10 + ["nowhere.png"] * 10
    assert columns["acquired"] == [DAY] * 10 + [DAY + timedelta(days=1)] * 10 + [None] * 10
    assert columns["col_off"][:3] == [0, 64, 128]
    assert shapely.equals(places[:20], footprints).all()
    assert list(places[20:]) == [None] * 10


def test_filters_select_the_same_chips_as_brute_force(filled, footprints):
    area = box(-20, -15, 25, 20)
    columns, _ = chips(filled, "a", Filter(area=area, since=DAY + timedelta(hours=1)))
    met = [n + 1 for n, place in enumerate(footprints) if n >= 10 and place.intersects(area)]
    assert met and columns["id"] == met
    columns, _ = chips(filled, "a", Filter(until=DAY + timedelta(days=1)), limit=7)
    assert columns["id"] == [1, 2, 3, 4, 5, 6, 7]


def test_no_chips_give_empty_columns(filled):
    columns, places = chips(filled, "a", limit=0)
    assert set(map(len, columns.values())) == {0} == {len(places)}


def test_errors_name_the_cause(filled):
    with pytest.raises(NotFound, match="nothing"):
        chips(filled, "nothing")
    with pytest.raises(UsageError, match="-1"):
        chips(filled, "a", limit=-1)


def test_geodataframe_of_an_archive(filled, footprints):
    pytest.importorskip("geopandas")
    archive = Archive.open("a", dsn=filled.info.dsn + " password=" + filled.info.password)
    frame = archive.to_geopandas()
    none = archive.to_geopandas(limit=0)
    archive.connection.close()
    assert frame.crs.to_epsg() == none.crs.to_epsg() == 4326
    assert frame.index.name == none.index.name == "id" and list(frame.index) == list(range(1, 31))
    assert list(frame.columns) == [*list(COLUMNS)[1:], "geometry"]
    assert (frame.dtypes == none.dtypes).all()
    assert str(frame.dtypes["acquired"]) == "datetime64[us, UTC]"
    assert shapely.equals(frame.geometry.to_numpy()[:20], footprints).all()
    assert frame.geometry.isna().sum() == 10

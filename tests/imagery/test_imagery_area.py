import json

import pytest
from shapely.geometry import box, mapping, shape

from dcsh_pg.errors import InputError, UsageError
from dcsh_pg.imagery.area import parse_area

BOX = box(1, 2, 3, 4)
FEATURE = {"type": "Feature", "properties": {}, "geometry": mapping(BOX)}


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3,4",
        "1 2 3 4",
        "[1.0, 2, 3, 4e0]",
        BOX.wkt,
        f"SRID=4326;{BOX.wkt}",
        "POLYGON Z((1 2 9,3 2 9,3 4 9,1 4 9,1 2 9))",
        json.dumps(mapping(BOX)),
        json.dumps(FEATURE),
        json.dumps({"type": "FeatureCollection", "features": [FEATURE, FEATURE]}),
    ],
)
def test_every_area_notation_gives_the_same_area(text, tmp_path):
    assert parse_area(text).equals(BOX)
    if text.startswith("{"):
        (tmp_path / "a.geojson").write_text(text)
        assert parse_area(str(tmp_path / "a.geojson")).equals(BOX)


def test_a_box_across_the_antimeridian_becomes_two():
    area = parse_area("170,-10,-170,10")
    assert area.geom_type == "MultiPolygon" and area.area == pytest.approx(400)


def test_a_self_intersecting_polygon_is_repaired():
    area = parse_area("POLYGON((0 0,2 2,2 0,0 2,0 0))")
    assert area.is_valid and area.area == pytest.approx(2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("POINT(1 2)", "has no area: it is a Point"),
        ("POLYGON EMPTY", "has no area"),
        ("0,0,0,0", "is not a box"),
        ("1,4,3,2", "is not a box"),
        ("500000,5300000,500100,5300100", "looks projected"),
        ("SRID=3857;POLYGON((0 0,1 0,1 1,0 0))", "EPSG:3857"),
        ("somewhere", "cannot be read"),
        ("", "cannot be read"),
        ('{"type": "Polygon"}', "is not GeoJSON"),
        ('{"type": "Point", "coordinates": [1, 2]}', "has no area"),
    ],
)
def test_areas_that_cannot_be_read_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_area(text)


def test_files_that_are_not_geojson_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        parse_area(str(tmp_path / "none.geojson"))
    (tmp_path / "a.geojson").write_text("hello")
    with pytest.raises(InputError, match="is not GeoJSON"):
        parse_area(str(tmp_path / "a.geojson"))
    named = FEATURE | {
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
    }
    (tmp_path / "b.geojson").write_text(json.dumps(named))
    with pytest.raises(InputError, match="EPSG::3857"):
        parse_area(str(tmp_path / "b.geojson"))


def test_a_multipolygon_stays_one():
    assert parse_area("MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))").geom_type == (
        "MultiPolygon"
    )
    assert shape(mapping(parse_area("1,2,3,4"))).equals(BOX)

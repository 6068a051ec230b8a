"""The map: what is drawn where, in which colour; and that it is drawn at all."""

from __future__ import annotations

import os
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import shapely
from PIL import Image
from shapely import MultiPolygon, box
from shapely.geometry import mapping, shape

from dcsh_pg import results
from dcsh_pg.database.search.query import CodeQuery
from dcsh_pg.results.map import MOST_NUMBERED, draw_map
from dcsh_pg.results.outputs import Picture
from dcsh_pg.results.record import Table

pytest.importorskip("matplotlib")
from matplotlib.collections import PathCollection, PolyCollection


def drawn(figure):
    """(outline or centre, colour) of each footprint, from the bottom to the top."""
    axes = figure.axes[0]
    found = []
    for collection in axes.collections:
        assert isinstance(collection, (PathCollection, PolyCollection))
        colours = collection.get_facecolors()
        if np.allclose(collection.get_offsets(), 0):
            places = [path.get_extents().bounds for path in collection.get_paths()]
        else:
            places = collection.get_offsets().tolist()
        found += list(zip(places, colours, strict=True))
    return found


def texts(figure):
    axes = figure.axes[0]
    legend = axes.get_legend()
    return {
        "title": axes.get_title(loc="left"),
        "inside": [text.get_text() for text in axes.texts],
        "legend": [text.get_text() for text in legend.get_texts()] if legend else [],
        "bar": [other.get_ylabel() for other in figure.axes[1:]],
    }


def lightness(colour):
    return float(np.dot(colour[:3], [0.2126, 0.7152, 0.0722]))


def test_footprints_are_drawn_with_the_nearest_on_top_and_darkest(hits):
    places = drawn(draw_map(Table.of_hits(hits)))
    assert len(places) == 4
    for (x, y, width, height), hit in zip([p for p, _ in places], hits[3::-1], strict=True):
        assert (x, y, x + width, y + height) == pytest.approx(shape(hit.footprint).bounds)
    light = [lightness(colour) for _, colour in places]
    assert light == sorted(light, reverse=True) and light[0] > light[-1] + 0.5


def test_map_reports_what_it_shows(hits):
    figure = draw_map(
        Table.of_hits(hits),
        Picture(
            title="a $b$ c",
            query=CodeQuery(b"", caption="_$1 $2.png", footprint=hits[0].footprint),
            area=box(-117.21, 32.69, -117.15, 32.72),
        ),
    )
    reported = texts(figure)
    assert reported["title"] == "a $b$ c"
    assert reported["legend"] == ["search area", "query: _$1 $2.png"]
    assert reported["bar"] == ["Hamming distance (bits)"]
    assert "without footprint: 1 of 5" in reported["inside"]
    assert {"1", "2", "3", "4"} <= set(reported["inside"])
    assert any(text.endswith((" m", " km")) for text in reported["inside"])


def test_small_footprints_become_dots(make_hit):
    corners = [(-100, 40), (-90, 35), (-80, 45)]
    hits = [
        make_hit(n, footprint=mapping(box(x, y, x + 1e-3, y + 1e-3)))
        for n, (x, y) in enumerate(corners)
    ]
    centres = [place for place, _ in drawn(draw_map(Table.of_hits(hits)))]
    assert np.allclose(centres, np.array(corners[::-1]) + 5e-4)


def test_both_sides_of_the_antimeridian_are_side_by_side(make_hit):
    hits = [
        make_hit(n, footprint=mapping(box(x, -18, x + 1, -17))) for n, x in enumerate((178, -180))
    ]
    area = MultiPolygon([box(177, -20, 180, -15), box(-180, -20, -177, -15)])
    figure = draw_map(Table.of_hits(hits), Picture(area=area))
    assert [place[0] for place, _ in drawn(figure)] == [180, 178], "the nearest on top"
    west, east = figure.axes[0].get_xlim()
    assert 170 < west < 177 and 183 < east < 190
    [outline] = figure.axes[0].patches
    assert outline.get_path().get_extents().bounds == (177, -20, 6, 5)


def test_one_degree_is_drawn_as_long_as_it_is_on_the_ground(make_hit):
    hits = [make_hit(n, footprint=mapping(box(10 + n, 60, 11 + n, 60.5))) for n in range(2)]
    assert draw_map(Table.of_hits(hits)).axes[0].get_aspect() == pytest.approx(2, rel=0.02)


def test_hits_in_one_spot_share_their_numbers(make_hit):
    hits = [make_hit(n, footprint=make_hit(0).footprint) for n in range(6)]
    assert "1, 2, 3 and 3 more" in texts(draw_map(Table.of_hits(hits)))["inside"]
    assert "1, 2, 3, 4" in texts(draw_map(Table.of_hits(hits[:4])))["inside"]


def test_many_hits_have_no_numbers(make_hit):
    cells = [divmod(n, 7) for n in range(MOST_NUMBERED + 1)]
    hits = [
        make_hit(n, footprint=mapping(box(x, y, x + 1, y + 1))) for n, (x, y) in enumerate(cells)
    ]
    assert "1" in texts(draw_map(Table.of_hits(hits[:-1])))["inside"]
    assert "1" not in texts(draw_map(Table.of_hits(hits)))["inside"]


def test_one_distance_is_reported_in_words(make_hit):
    reported = texts(draw_map(Table.of_hits([make_hit(3)])))
    assert (reported["legend"], reported["bar"]) == (["distance 6"], [])


def test_rows_are_coloured_by_any_column_and_grey_without_a_value():
    rows = [
        {"count": count, "footprint": box(n, 0, n + 1, 1)} for n, count in enumerate((1, None, 9))
    ]
    table = Table.of(rows, {"count": int})
    plain, coloured = draw_map(table), draw_map(table, Picture(colour_by="count"))
    assert len({tuple(colour) for _, colour in drawn(plain)}) == 1
    assert texts(plain)["bar"] == [] and texts(coloured)["bar"] == ["count"]
    assert texts(coloured)["legend"] == ["count unknown"]
    assert len({tuple(colour) for _, colour in drawn(coloured)}) == 3


def test_holes_stay_open(make_hit):
    frame = box(0, 0, 3, 3) - box(1, 1, 2, 2)
    figure = draw_map(Table.of_hits([make_hit(0, footprint=mapping(frame))]), Picture(area=frame))
    [path] = figure.axes[0].collections[0].get_paths()
    rings = [shapely.Polygon(ring) for ring in path.to_polygons()]
    assert [(ring.area, ring.exterior.is_ccw) for ring in rings] == [(9, True), (1, False)]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
@pytest.mark.parametrize("chosen", [slice(0, 5), slice(4, 5), slice(0, 0)])
def test_maps_are_written_the_same_every_time(hits, kind, chosen, tmp_path):
    query = SimpleNamespace(caption="pond.png", footprint=None)
    files = [tmp_path / f"{name}.map.{kind}" for name in "ab"]
    for file in files:
        results.write(hits[chosen], file, query=query, title="Ponds")
    first, second = (file.read_bytes() for file in files)
    assert first == second
    if kind == "png":
        with Image.open(files[0]) as image:
            assert image.width > 1000 and image.height > 500
    elif kind == "svg":
        assert ElementTree.fromstring(first).tag.endswith("svg")
    else:
        assert first.startswith(b"%PDF")
    assert sorted(os.listdir(tmp_path)) == [f"a.map.{kind}", f"b.map.{kind}"]


def test_rows_on_a_map(tmp_path):
    rows = [{"share": 0.5, "footprint": box(0, 0, 1, 1)}]
    results.write(rows, tmp_path / "rows.map.svg", columns={"share": float}, colour_by="share")
    assert (tmp_path / "rows.map.svg").stat().st_size > 1000

"""Each algorithm by processing.run, held to the same question in SQL."""

import processing
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsVectorLayer,
)
from world import CONNECTION


def run(algorithm, **parameters):
    place = {"CONNECTION": CONNECTION, "ARCHIVE": "places", "OUTPUT": "TEMPORARY_OUTPUT"}
    return processing.run(f"dcsh_pg:{algorithm}", {**place, **parameters})["OUTPUT"]


def column(layer, name):
    return [row[name] for row in layer.getFeatures()]


def check(world, layer, names, query):
    """Checks columns of whole numbers against those of an SQL query."""
    shown = [[row[name] for name in names] for row in layer.getFeatures()]
    expected = [[int(value) for value in row] for row in world.sql(query)]
    assert expected and shown == expected, f"{shown} is not {expected}"


def case_all_are_in_the_toolbox(world):
    provider = QgsApplication.processingRegistry().providerById("dcsh_pg")
    assert {algorithm.name() for algorithm in provider.algorithms()} == {
        "search_by_chip", "search_by_region", "change", "duplicates", "coverage", "similarity_surface",
    }  # fmt: skip
    for algorithm in provider.algorithms():
        assert algorithm.displayName() and algorithm.shortHelpString()


def case_search_by_chip(world):
    layer = run("search_by_chip", CHIP=7, K=9, MAX_DISTANCE=40)
    check(world, layer, ("id", "distance"), "SELECT id, distance FROM dcsh.similar_to('places', 7, 9, max_distance => 40)")  # fmt: skip
    assert layer.crs().authid() == "EPSG:4326" and layer.renderer().type() == "graduatedSymbol"
    [place] = world.sql("SELECT ST_AsText(geom) FROM dcsh.places WHERE id = (SELECT id FROM dcsh.similar_to('places', 7, 1))")  # fmt: skip
    first = next(layer.getFeatures()).geometry()
    assert first.equals(QgsGeometry.fromWkt(place[0]))


def case_filters(world):
    layer = run(
        "search_by_chip", CHIP=7, K=200, SINCE="2020-01-01T00:00:00", WHERE='"gsd" < 0.35',
        AREA="-0.395,-0.38,39.46,39.48 [EPSG:4326]",
    )  # fmt: skip
    check(world, layer, ("id",), """
        SELECT id FROM dcsh.similar_to('places', 7, 200, since => '2020-01-01Z',
            area => ST_MakeEnvelope(-0.395, 39.46, -0.38, 39.48, 4326)::dcsh.area,
            scenes => ARRAY(SELECT id FROM dcsh.scene WHERE (properties ->> 'gsd')::float < 0.35))""")  # fmt: skip


def case_search_by_region(world):
    region = QgsVectorLayer("Polygon?crs=EPSG:4326", "region", "memory")
    [[text]] = world.sql("SELECT ST_AsText(ST_Envelope(ST_Collect(geom))) FROM dcsh.places WHERE id IN (7, 8)")  # fmt: skip
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromWkt(text))
    region.dataProvider().addFeatures([feature])
    layer = run("search_by_region", REGION=region, K=9)
    check(world, layer, ("id", "distance"), f"SELECT id, distance FROM dcsh.similar_region('places', 'SRID=4326;{text}'::dcsh.area, 9)")  # fmt: skip


def case_change(world):
    layer = run("change", BEFORE_END="2020-01-01T00:00:00", AFTER_START="2020-01-01T00:00:00", K=6)
    check(world, layer, ("id", "distance", "before_id"), """
        SELECT id, distance, before_id FROM dcsh.change('places', tstzrange(NULL, '2020-01-01Z'),
            tstzrange('2020-01-01Z', NULL), k => 6)""")  # fmt: skip


def case_duplicates(world):
    layer = run("duplicates", RADIUS=12)
    check(world, layer, ("group_id", "id", "distance"), "SELECT group_id, id, distance FROM dcsh.near_duplicates('places', 12)")  # fmt: skip


def case_coverage(world):
    layer = run("coverage", CELL=0.005, EVERY=6)
    check(world, layer, ("id", "chips", "scene_count"), "SELECT id, chips, scene_count FROM dcsh.coverage('places', 0.005, 'year')")  # fmt: skip
    assert {time.date().year() for time in column(layer, "period")} == {2019, 2023}


def case_similarity_surface(world):
    layer = run("similarity_surface", CHIP=7, ZOOM=17)
    check(world, layer, ("x", "y", "distance", "chips"), "SELECT x, y, distance, chips FROM dcsh.similarity_surface('places', ARRAY[dcsh.code_of('places', 7)]::varbit[], 17)")  # fmt: skip
    [[inside]] = world.sql("SELECT ST_AsText(ST_Transform(ST_Centroid(geom), 3857)) FROM dcsh.places WHERE id = 7")  # fmt: skip
    here = [row["distance"] for row in layer.getFeatures() if row.geometry().intersects(QgsGeometry.fromWkt(inside))]  # fmt: skip
    assert layer.crs().authid() == "EPSG:3857" and here == [0]


def case_errors_are_one_line(world):
    wrong = (
        ({"ARCHIVE": "absent"}, "no archive 'absent'; there are: places"),
        ({"CHIP": 10**6}, "no chip 1000000"),
        ({"WHERE": "gsd <"}, "the condition cannot be read"),
        ({"WHERE": "abs(gsd) < 1"}, "a condition on scenes cannot use abs(gsd)"),
    )
    for parameters, message in wrong:
        try:
            run("search_by_chip", **{"CHIP": 7, **parameters})
        except QgsProcessingException as error:
            assert message in str(error) and "SELECT" not in str(error), str(error)
        else:
            raise AssertionError(parameters)


def case_cancelled(world):
    feedback = QgsProcessingFeedback()
    feedback.cancel()
    place = {"CONNECTION": CONNECTION, "ARCHIVE": "places", "OUTPUT": "TEMPORARY_OUTPUT"}
    try:
        processing.run("dcsh_pg:search_by_chip", {**place, "CHIP": 7}, feedback=feedback)
    except QgsProcessingException as error:
        assert "cancelled" in str(error)
    else:
        raise AssertionError("not cancelled")

"""The dock, used as a person does: widgets, buttons, clicks on the map."""

import os
import shutil
import threading
from contextlib import suppress

from qgis.core import QgsFeedback, QgsMapLayerType, QgsProject
from qgis.PyQt.QtCore import QDate, QDateTime, Qt, QTime

CLOSED = 'it\'s "closed"'


def case_a_chip_by_its_id(world):
    dock = world.fresh()
    dock.query.chip.setText("7")
    world.press(dock.search_button)
    world.settle()
    world.check_shown("SELECT id FROM dcsh.similar_to('places', 7, 12)")
    layer = dock.hits_layer.layer
    assert layer.renderer().type() == "graduatedSymbol"
    assert layer.renderer().classAttribute() == "distance"
    assert "12 nearest to chip 7" in dock.status.text(), dock.status.text()
    names = [layer.name() for layer in QgsProject.instance().mapLayers().values()]
    assert "nearest to chip 7" in names and "query" in names


def case_imagery_lies_below_the_hits(world):
    dock = world.fresh()
    dock.results.scenes.setValue(2)
    dock.query.chip.setText("7")
    world.press(dock.search_button)
    world.settle()
    world.wait(lambda: dock.imagery.work is None, "the imagery")
    uris = [
        row[0]
        for row in world.sql(
            "SELECT s.uri FROM dcsh.similar_to('places', 7, 12) WITH ORDINALITY h JOIN dcsh.scene s ON s.id = h.scene_id ORDER BY ordinality"
        )
    ]
    layers = QgsProject.instance().layerTreeRoot().layerOrder()
    rasters = [layer for layer in layers if layer.type() == QgsMapLayerType.RasterLayer]
    assert [layer.source() for layer in rasters] == list(dict.fromkeys(uris))[:2]
    assert all(layer.isValid() for layer in rasters)
    assert layers.index(dock.hits_layer.layer) < layers.index(rasters[0])
    table = dock.results.table
    assert all(not table.item(row, 0).icon().isNull() for row in range(12))
    dock.results.scenes.setValue(8)


def case_a_selection_is_linked(world):
    dock = world.fresh()
    dock.query.chip.setText("7")
    world.press(dock.search_button)
    world.settle()
    table, layer = dock.results.table, dock.hits_layer.layer
    table.selectRow(3)
    assert [row["id"] for row in layer.selectedFeatures()] == [world.shown()[3]]
    layer.selectByExpression("rank IN (2, 5)")
    assert table.selected() == [world.shown()[1], world.shown()[4]]


def case_a_click_on_the_map(world):
    dock = world.fresh()
    world.press(dock.query.pick_button)
    [[chip, lon, lat]] = world.sql(
        "SELECT id, ST_X(c), ST_Y(c) FROM dcsh.places, ST_Centroid(geom) c ORDER BY id DESC LIMIT 1"
    )
    [chip] = world.ids(f"SELECT dcsh.chip_at('places', {lon}, {lat})")
    world.click(float(lon), float(lat))
    world.settle()
    world.check_shown(f"SELECT id FROM dcsh.similar_to('places', {chip}, 12)")


def case_a_click_beside_the_archive(world):
    dock = world.fresh()
    world.press(dock.query.pick_button)
    world.look_at(-10, -10, 10, 10)
    world.click(1, 1)
    world.settle()
    assert dock.status.text() == "archive 'places' has no chip at this place"


def case_a_code(world):
    dock = world.fresh()
    [[code]] = world.sql("SELECT code FROM dcsh.places_layer WHERE id = 5")
    world.press(dock.query.kinds.button(2))
    dock.query.code.setText("0x" + code)
    world.press(dock.search_button)
    world.settle()
    world.check_shown("SELECT id FROM dcsh.similar('places', dcsh.code_of('places', 5), 12)")
    dock.query.code.setText("0x12'; DROP TABLE dcsh.scene")
    world.press(dock.search_button)
    world.settle()
    assert dock.status.text().startswith("a code is hexadecimal")


def case_marks_and_undo(world):
    dock = world.fresh()
    dock.query.chip.setText("7")
    world.press(dock.search_button)
    world.settle()
    first = world.shown()
    right, wrong = first[1:3], first[5:6]
    table, results = dock.results.table, dock.results
    table.select(right)
    world.press(results.right)
    table.select(wrong)
    world.press(results.wrong)
    assert results.marks.text() == "2 right, 1 wrong"
    table.clearSelection()
    world.wait(lambda: dock.imagery.work is None, "the imagery")
    [bounds] = world.sql(
        "SELECT ST_XMin(b), ST_YMin(b), ST_XMax(b), ST_YMax(b) FROM (SELECT ST_Extent(c.geom) AS b "
        "FROM dcsh.places c JOIN dcsh.scene s ON s.id = c.scene_id WHERE s.uri LIKE '%02_2023%') x"
    )
    world.look_at(*map(float, bounds))
    world.photograph("qgis.png")
    world.press(results.again_button)
    world.settle()
    likes = ",".join(map(str, [7, *right]))
    expected = world.ids(
        f"SELECT id FROM dcsh.similar_to_examples('places', '{{{likes}}}', '{{{wrong[0]}}}', 12, 'rocchio')"
    )
    assert world.shown() == expected and not set(expected) & {7, *right, *wrong}
    world.press(results.undo_button)
    world.settle()
    assert world.shown() == first and results.marks.text() == "2 right, 1 wrong"
    world.press(results.undo_button)
    assert results.marks.text() == "2 right, 0 wrong"


def case_a_region_drawn_on_the_map(world):
    dock = world.fresh()
    world.press(dock.query.kinds.button(1))
    world.press(dock.query.draw_button)
    [[west, south, east, north]] = [
        [float(n) for n in row]
        for row in world.sql(
            "SELECT ST_XMin(geom), ST_YMin(geom), ST_XMax(geom), ST_YMax(geom) FROM dcsh.places WHERE id = 20"
        )
    ]
    world.look_at(west, south, east, north)
    for lon, lat in ((west, south), (east, south), (east, north)):
        world.click(lon, lat)
    world.click(west, north, Qt.MouseButton.RightButton)
    world.settle()
    region = dock.rounds.now.query.region
    world.check_shown(
        f"SELECT id FROM dcsh.similar_region('places', 'SRID=4326;{region}'::dcsh.area, 12)"
    )
    [[within]] = world.sql(
        f"SELECT ST_Area(ST_Intersection(geom, 'SRID=4326;{region}')) / ST_Area(geom) FROM dcsh.places WHERE id = 20"
    )
    assert 0.4 < float(within) < 0.6, "the triangle is not half of the chip"


def case_filters(world):
    dock = world.fresh()
    dock.query.chip.setText("7")
    dock.k.setValue(500)
    dock.filter.since.setDateTime(QDateTime(QDate(2023, 9, 5), QTime(0, 0)))
    dock.filter.until.setDateTime(QDateTime(QDate(2023, 9, 6), QTime(0, 0)))
    dock.filter.max_distance.setValue(60)
    dock.filter.where.setText('"gsd" > 0.15 AND "gsd" < 0.25')
    world.press(dock.search_button)
    world.settle()
    world.check_shown("""
        SELECT id FROM dcsh.similar_to('places', 7, 500, since => '2023-09-05Z', until => '2023-09-06Z',
            max_distance => 60, scenes => (SELECT array_agg(id) FROM dcsh.scene
                                           WHERE (properties ->> 'gsd')::float BETWEEN 0.15 AND 0.25))""")
    world.fresh()
    dock.k.setValue(500)
    dock.filter.area.setCurrentIndex(1)
    world.look_at(-0.395, 39.46, -0.3935, 39.4725)
    world.press(dock.search_button)
    world.settle()
    shown = set(world.shown())
    from dcsh_pg_search.places import extent_wkt

    canvas = world.iface.canvas
    area = extent_wkt(canvas.extent(), canvas.mapSettings().destinationCrs())
    assert shown == set(
        world.ids(
            f"SELECT id FROM dcsh.places WHERE id <> 7 AND ST_Intersects(geom, 'SRID=4326;{area}')"
        )
    )
    assert 0 < len(shown) < 143
    dock.filter.where.setText("gsd <")
    world.press(dock.search_button)
    world.settle()
    assert dock.status.text().startswith("the condition cannot be read"), dock.status.text()


def case_a_picture(world):
    dock = world.fresh()
    world.press(dock.query.kinds.button(3))
    [[uri]] = world.sql("SELECT uri FROM dcsh.scene ORDER BY id LIMIT 1")
    dock.query.file.setFilePath(uri)
    path = os.environ["PATH"]
    os.environ["PATH"] = "/nowhere"
    world.press(dock.search_button)
    world.settle()
    assert dock.status.text().startswith(
        "a picture is hashed by the program dcsh-pg, which is not on"
    )
    os.environ["PATH"] = path
    if shutil.which("dcsh-pg"):
        world.press(dock.search_button)
        world.wait(lambda: dock.work is None, "dcsh-pg", 120)
        assert "nearest to a picture" in dock.status.text(), dock.status.text()
        code = dock.rounds.now.query.code
        world.check_shown(f"SELECT id FROM dcsh.similar('places', x'{code[2:]}', 12)")


def case_cancel_ends_the_statement(world):
    dock = world.fresh()
    blocking = QgsFeedback()
    lock = "DO $$ BEGIN LOCK TABLE dcsh.places; PERFORM pg_sleep(60); END $$"

    def block():
        with suppress(Exception):  # cancelled below
            world.provider.createConnection(world.dsn, {}).executeSql(lock, blocking)

    thread = threading.Thread(target=block)
    thread.start()
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '{}%'"
    locked = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database() AND l.relation = 'dcsh.places'::regclass AND l.granted AND l.mode = 'AccessExclusiveLock'"
    world.wait(lambda: int(world.sql(locked)[0][0]), "the lock")
    dock.query.chip.setText("7")
    world.press(dock.search_button)
    searching = count.format("SELECT row_to_json%similar_to")
    world.wait(lambda: int(world.sql(searching)[0][0]), "the search")
    world.press(dock.cancel_button)
    world.settle()
    assert dock.status.text() == "cancelled"
    world.wait(lambda: not int(world.sql(searching)[0][0]), "the server")
    blocking.cancel()
    thread.join()


def case_a_wrong_connection(world):
    world.fresh()
    world.store(CLOSED, "dbname='nothing' host='127.0.0.1' port='1' user='nobody' password='x'")
    dock = world.dock
    dock.source.reload()
    dock.source.connections.setCurrentText(CLOSED)
    world.wait(lambda: "cannot" in dock.status.text(), "the message")
    assert (
        dock.status.text()
        == f"cannot connect to '{CLOSED}'; check the connection in QGIS's browser"
    )
    assert dock.status.textFormat() == Qt.TextFormat.PlainText
    world.provider.deleteConnection(CLOSED)

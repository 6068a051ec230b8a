"""The dock, used as a person does: widgets, buttons, clicks on the map."""

import threading
from contextlib import suppress

from qgis.core import QgsFeedback, QgsMapLayerType, QgsProject
from qgis.PyQt.QtCore import Qt


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
    world.photograph("dock.png")
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
    world.press(dock.query.kinds.button(0))


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
    world.store("closed", "dbname='nothing' host='127.0.0.1' port='1' user='nobody' password='x'")
    dock = world.dock
    dock.source.reload()
    dock.source.connections.setCurrentText("closed")
    world.wait(lambda: "closed" in dock.status.text(), "the message")
    assert (
        dock.status.text() == "cannot connect to 'closed'; check the connection in QGIS's browser"
    )
    assert dock.status.textFormat() == Qt.TextFormat.PlainText
    world.provider.deleteConnection("closed")

"""The parts of the plugin that need no QGIS, its SQL on both spatial layers."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import psycopg
import pytest
import shapely
from searching import similar_to
from synthetic import Scene, add, new_archive

from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect

sys.path.insert(0, str(Path(__file__).parents[2] / "qgis"))

from dcsh_pg_search import statements
from dcsh_pg_search.addresses import gdal_name, title
from dcsh_pg_search.footprints import wkb
from dcsh_pg_search.queries import (
    Archive,
    ChipQuery,
    CodeQuery,
    ExamplesQuery,
    Filter,
    InvalidInput,
    RegionQuery,
)
from dcsh_pg_search.rounds import Rounds

AREA = shapely.box(10.5, 40.5, 14.5, 43.5)


def rows(conn, statement):
    return [json.loads(text) for (text,) in conn.execute(statement)]


@pytest.fixture(params=["database", "postgis_database"])
def places(request):
    with connect(request.getfixturevalue(request.param)) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        codes = np.random.default_rng(0).integers(0, 256, (60, 8), dtype=np.uint8)
        boxes = [
            shapely.box(10 + n % 10, 40 + n // 10, 11 + n % 10, 41 + n // 10) for n in range(60)
        ]
        acquired = datetime(2020, 5, 1, tzinfo=timezone.utc)
        scene = Scene("/a'b\\c.tif", acquired=acquired, properties={"gsd": 0.5})
        add(loader, scene, codes, boxes)
        loader.flush()
        yield conn


def test_every_statement_runs_with_and_without_postgis(places):
    [archive] = [Archive(**row) for row in rows(places, statements.archives())]
    assert (archive.name, archive.bits, archive.chips, archive.scenes) == ("places", 64, 60, 1)
    where = '{"op": "<=", "args": [{"property": "gsd"}, 0.5]}'
    filter = Filter(AREA.wkt, "-infinity", "infinity", 60, where)
    found = rows(places, statements.search(archive, ChipQuery(3), filter, 9))
    expected = similar_to(places, "places", 3, k=9, area=AREA, max_distance=60)
    assert [(row["id"], row["distance"]) for row in found] == [(h.id, h.distance) for h in expected]
    assert [row["rank"] for row in found] == list(range(1, len(found) + 1))
    for row, hit in zip(found, expected, strict=True):
        assert shapely.equals(shapely.from_wkb(wkb(row["geom"])), shapely.geometry.shape(hit.footprint))  # fmt: skip
        assert row["uri"] == "/a'b\\c.tif"
    for query in (CodeQuery("0x" + "0f" * 8), RegionQuery(AREA.wkt), ExamplesQuery((3, 4), (9,))):
        assert rows(places, statements.search(archive, query, filter, 9))
    periods = (None, "2020-01-01"), ("2020-01-01", None)
    for statement in (
        statements.extent(archive),
        statements.chip_at(archive, 12.5, 42.5),
        statements.chips(archive, [1, 2]),
        statements.duplicates(archive, 20, filter),
        statements.coverage(archive, 1.0, "year", filter),
        statements.surface(archive, ChipQuery(3), 8, filter),
    ):
        assert rows(places, statement), statement
    assert rows(places, statements.change(archive, *periods, filter)) == []


@pytest.mark.parametrize("standard", ["on", "off"])
def test_literals_are_what_they_were(postgis_admin, standard):
    hostile = ["it's", "\\", "\\'; DROP TABLE x --", "$$", "é\n\t%s", "x'00'", ""]
    with psycopg.connect(postgis_admin) as conn:
        conn.execute(f"SET standard_conforming_strings = {standard}")
        for text in hostile:
            cursor = psycopg.ClientCursor(conn).execute("SELECT " + statements.literal(text))
            assert cursor.fetchone() == (text,)
            cursor.execute("SELECT 1 AS " + statements.identifier(text or "x"))
            assert cursor.description[0].name == (text or "x")
    with pytest.raises(InvalidInput, match="NUL"):
        statements.literal("a\0b")


@pytest.mark.parametrize("text", ["", "0x", "12'", "0x0g", "0x" + "0" * 8, "01", "x'00'"])
def test_only_a_code_of_the_right_length_is_asked(text):
    with pytest.raises(InvalidInput):
        statements.code(text, 64)


def test_codes_are_hexadecimal_or_bits():
    assert statements.code("0x" + "A1" * 8, 64) == statements.code("a1" * 8, 64) == f"x'{'a1' * 8}'"
    assert statements.code("01" * 8, 16) == f"B'{'01' * 8}'"


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/data/a b.tif", "/data/a b.tif"),
        ("C:\\data\\a.tif", "C:\\data\\a.tif"),
        ("s3://bucket/a.tif", "/vsis3/bucket/a.tif"),
        ("gs://bucket/a.tif", "/vsigs/bucket/a.tif"),
        ("https://h/a.tif?x=1", "/vsicurl/https://h/a.tif?x=1"),
        *[
            (uri, None)
            for uri in (
                "a.tif", "/vsicurl/http://h/a.tif", "/vsizip//a.zip/b", "WMS:http://h", "<VRTDataset/>",
                "file:///etc/passwd", "ftp://h/a.tif", "/a.tif|layerid=1", "/a\n.tif", "NETCDF:/a:b",
            )
        ],
    ],
)  # fmt: skip
def test_only_files_and_object_storage_are_opened(uri, name):
    assert gdal_name(uri) == name


def test_a_scene_is_known_by_the_end_of_its_address():
    assert (
        title("s3://bucket/x/a.tif?sig=1") == title("C:\\x\\a.tif") == title("/x/a.tif") == "a.tif"
    )


def test_rounds_can_be_undone():
    rounds = Rounds()
    assert not rounds.undo() and rounds.next_query() is None
    rounds.ask(ChipQuery(7))
    rounds.mark([3, 4], True)
    rounds.mark([4, 5], False)
    assert rounds.next_query() == ExamplesQuery((7, 3), (4, 5))
    rounds.ask(rounds.next_query())
    assert rounds.next_query() is None and rounds.mark_of(7) is True
    rounds.mark([7], None)
    assert rounds.next_query() == ExamplesQuery((3,), (4, 5))
    assert rounds.undo() and rounds.undo() and rounds.now.query == ChipQuery(7)
    assert (rounds.mark_of(3), rounds.mark_of(4), rounds.mark_of(6)) == (True, False, None)
    rounds.mark([7], False)
    assert rounds.next_query() == ExamplesQuery((3,), (4, 5, 7))
    while rounds.undo():
        pass
    assert rounds.now.query == ChipQuery(7) and not rounds.now.right

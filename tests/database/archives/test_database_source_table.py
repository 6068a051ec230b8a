"""Tables of the user that list images: ``dcsh.source_rows`` and scenes from its rows."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
import shapely
from pyproj import Transformer
from shapely.geometry import box
from stac_items import add_raster, make_item

from dcsh_pg import Archive
from dcsh_pg.database.archives.source_table import SourceRow, source_rows
from dcsh_pg.errors import NotFound, ServerError, UsageError
from dcsh_pg.imagery.sources.table import table_listing

TABLE = '"My maps"."the ""tiles"" here"'


@pytest.fixture
def conn(any_database):
    with psycopg.connect(any_database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def folder(tmp_path):
    """Three rasters in images/, the last without a place."""
    for number in range(3):
        add_raster(make_item(number), tmp_path, number, placed=number < 2)
    return tmp_path


def bounds_of(number):
    return make_item(number)["properties"]["proj:bbox"]


def to_lonlat(geometry):
    transformer = Transformer.from_crs("EPSG:32630", "EPSG:4326", always_xy=True)
    return shapely.transform(geometry, lambda xy: np.stack(transformer.transform(*xy.T), axis=-1))


def test_rows_are_ordered_by_location_and_have_their_other_columns(conn):
    conn.execute(
        """
        CREATE SCHEMA "My maps";
        CREATE TABLE "My maps"."the ""tiles"" here" (
            dcsh_key int, "The file" text, flown timestamptz, "row" jsonb, outline text);
        INSERT INTO "My maps"."the ""tiles"" here" VALUES
            (1, 'b.tif', '2021-07-14 10:30+02', '{"a": [1]}', 'POLYGON((0 0,1 0,1 1,0 0))'),
            (2, 'B.tif', NULL, NULL, 'no polygon'), (3, NULL, NULL, NULL, NULL)
        """
    )
    conn.execute("SET DateStyle = 'German'; SET TimeZone = 'UTC'")
    rows = list(source_rows(conn, TABLE, location="The file", geometry="outline", acquired="flown"))
    assert rows == [
        SourceRow("B.tif", None, None, None, {"dcsh_key": 2, "row": None}),
        SourceRow(
            "b.tif", shapely.from_wkt("POLYGON((0 0,1 0,1 1,0 0))"), None,
            "2021-07-14T08:30:00+00:00", {"dcsh_key": 1, "row": {"a": [1]}},
        ),
        SourceRow(None, None, None, None, {"dcsh_key": 3, "row": None}),
    ]  # fmt: skip


def test_a_missing_table_or_column_is_refused(conn):
    conn.execute("CREATE TABLE public.tiles (location text, shape polygon)")
    with pytest.raises(NotFound, match=r'table "public\.tile" does not exist') as refusal:
        list(source_rows(conn, "public.tile"))
    assert "tiles" in refusal.value.hint
    with pytest.raises(NotFound) as refusal:
        list(source_rows(conn, "nowhere.tiles"))
    assert refusal.value.hint.startswith('schema "nowhere" does not exist')
    for options in ({"geometry": "geom"}, {"location": "geom"}, {"acquired": "geom"}):
        with pytest.raises(
            UsageError, match=r'table "public\.tiles" has no column "geom"'
        ) as refusal:
            list(source_rows(conn, "public.tiles", **options))
        assert refusal.value.hint == "it has location, shape"
    for name in ("tiles", "a.public.tiles", "public.tiles; DROP TABLE public.tiles", '"public', ""):
        with pytest.raises(UsageError, match="is not a schema-qualified table name") as refusal:
            list(source_rows(conn, name))
        assert refusal.value.hint.startswith("write SCHEMA.TABLE")
    assert list(source_rows(conn, "public.tiles")) == []


def test_names_are_never_read_as_sql(conn):
    evil = "location); DROP TABLE public.tiles; --"
    conn.execute(f'CREATE TABLE public.tiles (location text, "{evil}" text)')
    conn.execute("INSERT INTO public.tiles VALUES ('a', 'b')")
    assert [row.location for row in source_rows(conn, "public.tiles", location=evil)] == ["b"]
    [row] = source_rows(conn, "public.tiles", acquired=evil)
    assert (row.location, row.acquired, row.properties) == ("a", "b", {})


def test_a_table_without_select_rights_is_refused(conn):
    conn.execute("CREATE TABLE public.secret (location text)")
    role = f"dcsh_reader_{conn.info.dbname[-8:]}"
    conn.execute(
        f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA dcsh, public TO {role}; SET ROLE {role}"
    )
    try:
        with pytest.raises(
            ServerError, match=r'permission denied for table "public\.secret"'
        ) as reported:
            list(source_rows(conn, "public.secret"))
        assert reported.value.hint == f"ask its owner for: GRANT SELECT ON public.secret TO {role}"
    finally:
        conn.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_box_in_any_crs_georeferences_an_image_and_an_outline_does_not():
    def place(footprint, crs="EPSG:32630"):
        [entry] = table_listing([SourceRow("a.tif", footprint, crs)], table="t")
        return entry.metadata.frame, entry.metadata.footprint

    frame, footprint = place(shapely.MultiPolygon([box(*bounds_of(0))]))
    assert frame.georeference(128, 128, uri="a").transform.almost_equals(
        (10, 0, bounds_of(0)[0], 0, -10, bounds_of(0)[3]), 1e-6
    )
    assert footprint.equals_exact(to_lonlat(box(*bounds_of(0))), 1e-9)
    frame, footprint = place(shapely.Polygon([(7e5, 4e6), (7.1e5, 4e6), (7.1e5, 4.1e6)]))
    assert frame is None and footprint.is_valid and -3 < footprint.bounds[0] < 0
    two = shapely.MultiPolygon([box(0, 0, 1, 1), box(2, 2, 3, 3)])
    for useless, crs in ((two, None), (box(*bounds_of(0)), None), (box(0, 0, 1, 1), "EPSG:1"),
                         (shapely.Point(1, 1), None), (None, None)):  # fmt: skip
        assert place(useless, crs) == (None, None)


def test_rows_without_usable_values_are_reported(tmp_path):
    rows = [SourceRow(None), SourceRow("a.tif", acquired="someday"), SourceRow("b.tif")]
    entries = list(table_listing(rows, table="public.tiles", root=tmp_path))
    assert [entry.address for entry in entries] == [
        "public.tiles#1", "public.tiles#a.tif", "public.tiles#b.tif",
    ]  # fmt: skip
    assert "has no location" in entries[0].error.message
    assert "invalid date: 'someday'" in entries[1].error.message
    assert entries[2].uri == str(tmp_path / "b.tif")


KINDS = {
    "polygon": ("polygon(box(point({0}, {1}), point({2}, {3})))", "EPSG:4326"),
    "text": ("'POLYGON(({0} {1},{2} {1},{2} {3},{0} {3},{0} {1}))'", "EPSG:4326"),
    "geography": ("ST_MakeEnvelope({0}, {1}, {2}, {3}, 4326)::geography", "EPSG:4326"),
    "geometry(MultiPolygon,32630)": ("ST_Multi(ST_MakeEnvelope({0}, {1}, {2}, {3}, 32630))", "EPSG:32630"),
}  # fmt: skip
"""Types of a column of footprints: how a box becomes one, and the CRS of the box."""


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_come_from_a_table_with_its_columns_and_footprints(
    any_database, model_file, folder, kind
):
    archive = Archive.create("a", model_file, dsn=any_database)
    conn = archive.connection
    postgis = conn.execute("SELECT to_regtype('geometry') IS NOT NULL").fetchone()[0]
    if kind.startswith("geo") and not postgis:
        pytest.skip("geometry and geography are PostGIS's")
    made, crs = KINDS[kind]
    place = box(*bounds_of(2))
    bounds = (place if crs == "EPSG:32630" else to_lonlat(place)).bounds
    conn.execute(f"CREATE TABLE public.tiles (location text, sensor text, taken date, geom {kind})")
    for number in (2, 0, 1):
        conn.execute(
            f"INSERT INTO public.tiles SELECT %s, 'RMK', '2021-07-14', {made.format(*bounds)}",
            [f"images/item-{number}.tif"],
        )

    def ingest():
        return archive.ingest_table(
            "public.tiles", geometry="geom", acquired_column="taken", root=folder
        )

    report = ingest()
    assert (report.stored, report.failed) == (3, 0), report.errors
    scenes = conn.execute(
        "SELECT uri, acquired::text, proj_code, properties->>'sensor' FROM dcsh.scene ORDER BY id"
    ).fetchall()
    assert scenes == [
        (f"{folder}/images/item-{number}.tif", "2021-07-14 00:00:00+00", code, "RMK")
        for number, code in enumerate(("EPSG:32630", "EPSG:32630", crs))
    ]
    assert (ingest().known, ingest().stored) == (3, 0)
    assert conn.execute("SELECT count(*), count(geom) FROM dcsh.a").fetchone() == (12, 12)
    centre = to_lonlat(place).centroid
    chip = archive.query_place(centre.x, centre.y).chip
    assert conn.execute("SELECT scene_id FROM dcsh.a WHERE id = %s", [chip]).fetchone() == (3,)


def test_the_error_of_a_row_is_deleted_when_the_row_is_fixed(database, model_file, folder):
    archive = Archive.create("a", model_file, dsn=database)
    conn = archive.connection
    conn.execute("CREATE TABLE public.tiles (location text, taken text)")
    conn.execute("INSERT INTO public.tiles VALUES ('images/item-0.tif', 'noon'), (NULL, NULL)")
    conn.execute("INSERT INTO public.tiles VALUES ('images/item-1.tif', '2021-01-01')")
    how = {"acquired_column": "taken", "root": folder}
    report = archive.ingest_table("public.tiles", **how)
    assert (report.stored, report.failed) == (1, 2)
    errors = "SELECT uri FROM dcsh.ingest_error ORDER BY uri"
    assert conn.execute(errors).fetchall() == [
        ("public.tiles#3",), ("public.tiles#images/item-0.tif",),
    ]  # fmt: skip
    conn.execute("UPDATE public.tiles SET taken = '2020-01-01' WHERE taken = 'noon'")
    assert archive.ingest_table("public.tiles", **how).stored == 1
    assert conn.execute(errors).fetchall() == [("public.tiles#3",)]

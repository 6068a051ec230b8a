"""The layer of an archive: what it shows, what it costs, and that it stays beside its archive."""

import subprocess

import numpy as np
import psycopg
import pytest
import shapely
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from synthetic import Scene, add, new_archive

from dcsh_pg.codes import to_hex
from dcsh_pg.database.archives import registry, spatial
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.programs import bundled
from dcsh_pg.errors import UsageError

CODES = np.random.default_rng(0).integers(0, 256, (6, 8), dtype=np.uint8)
BOXES = [shapely.box(n, 10 + n, n + 1, 11 + n) for n in range(6)]


@pytest.fixture
def conn(any_deployment):
    with connect(any_deployment) as opened:
        fill(opened)
        yield opened


@pytest.fixture
def server(any_database):
    with connect(any_database) as opened:
        fill(opened)
        yield opened


def fill(conn):
    """Makes archive places: two scenes of three chips, and one without a place."""
    loader = Loader(conn, new_archive(conn, "places"))
    for n in range(2):
        scene = Scene(f"{n}.tif", collection="naip", item_id=f"item {n}")
        add(loader, scene, CODES[3 * n : 3 * n + 3], BOXES[3 * n : 3 * n + 3])
    add(loader, Scene("nowhere.png"), CODES[:1])
    loader.flush()


def columns(conn, relation):
    return dict(conn.execute(
        """
        SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
        WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum
        """,
        [relation],
    ).fetchall())  # fmt: skip


def relations(conn):
    return {name: kind for name, kind in conn.execute(
        """
        SELECT relname, relkind::text FROM pg_class
        WHERE relnamespace = 'dcsh'::regnamespace AND relname LIKE 'places%' AND relkind IN ('r', 'v')
        """
    )}  # fmt: skip


def test_a_layer_shows_every_chip_with_its_scene_in_plain_types(conn):
    shown = columns(conn, "dcsh.places_layer")
    geometry = "geom" if spatial.layer_of(conn) == "postgis" else "wkb_geometry"
    assert list(shown)[:3] == ["id", geometry, "code"]
    assert shown["id"] == "bigint"
    assert shown["code"] == "text"
    assert shown[geometry] == ("geometry(Polygon,4326)" if geometry == "geom" else "bytea")
    assert not [type for type in shown.values() if type.startswith("bit")]

    rows = conn.execute(
        f"SELECT id, {geometry}, code, uri, collection, item_id, col_off, width"
        " FROM dcsh.places_layer ORDER BY id"
    ).fetchall()
    assert [row[0] for row in rows] == list(range(1, 8))
    for n, (_, place, code, uri, collection, item, col_off, width) in enumerate(rows[:6]):
        assert shapely.equals(shapely.from_wkb(place), BOXES[n])
        assert code == to_hex(CODES[n])
        assert (uri, collection, item) == (f"{n // 3}.tif", "naip", f"item {n // 3}")
        assert (col_off, width) == (64 * (n % 3), 64)
    assert rows[6][1] is None
    assert rows[6][3:6] == ("nowhere.png", None, None)


def test_postgis_knows_the_type_and_the_srid_of_a_layer(postgis_database):
    with connect(postgis_database) as conn:
        new_archive(conn, "places")
        assert conn.execute(
            "SELECT f_geometry_column, type, srid, coord_dimension FROM geometry_columns"
            " WHERE f_table_schema = 'dcsh' AND f_table_name = 'places_layer'"
        ).fetchall() == [("geom", "POLYGON", 4326, 2)]


@pytest.mark.parametrize(
    "question",
    [
        "SELECT count(*) FROM dcsh.places_layer",
        "SELECT count(DISTINCT id) = count(*) FROM dcsh.places_layer",
        "SELECT min(acquired), max(acquired) FROM dcsh.places_layer",
        "SELECT ST_Extent(geom) FROM dcsh.places_layer",
    ],
)
def test_what_programs_ask_of_a_layer_first_does_not_join_the_scenes(postgis_database, question):
    with connect(postgis_database) as conn:
        new_archive(conn, "places")
        ((plan,),) = conn.execute(f"EXPLAIN (FORMAT JSON) {question}").fetchall()
        assert "'Relation Name': 'places'" in str(plan)
        assert "'Relation Name': 'scene'" not in str(plan)


def test_a_layer_goes_with_its_archive(conn):
    assert relations(conn) == {"places": "r", "places_layer": "v"}
    registry.drop_archive(conn, "places")
    assert relations(conn) == {}
    new_archive(conn, "places")
    assert relations(conn) == {"places": "r", "places_layer": "v"}


def test_an_upgrade_gives_older_archives_their_layer_and_keeps_rights_and_views(any_database):
    with connect(any_database) as conn:
        for name in ("places", "more"):
            new_archive(conn, name)
        conn.execute("DROP VIEW dcsh.more_layer")
        conn.execute("GRANT SELECT ON dcsh.places_layer TO PUBLIC")
        conn.execute("CREATE VIEW mine AS SELECT id, uri FROM dcsh.places_layer")
        migrate.upgrade(any_database)
        assert columns(conn, "dcsh.more_layer") == columns(conn, "dcsh.places_layer")
        assert conn.execute(
            "SELECT has_table_privilege('pg_monitor', 'dcsh.places_layer', 'SELECT')"
        ).fetchone() == (True,)
        assert conn.execute("SELECT count(*) FROM mine").fetchone() == (0,)


@pytest.mark.parametrize("name", ["places", "places_layer_layer"])
def test_an_archive_and_the_layer_of_another_cannot_have_one_name(database, name):
    with connect(database) as conn:
        new_archive(conn, "places_layer")
        with pytest.raises(UsageError, match="cannot be named") as error:
            new_archive(conn, name)
        assert "_layer" in error.value.hint
        assert relations(conn) == {"places_layer": "r", "places_layer_layer": "v"}


@pytest.mark.parametrize("other", ["archive", "view"])
def test_where_something_older_has_the_name_there_is_no_layer_and_nothing_is_lost(database, other):
    with connect(database) as conn:
        new_archive(conn, "places")
        conn.execute("DROP VIEW dcsh.places_layer")
        if other == "archive":
            new_archive(conn, "places_layer")
        else:
            conn.execute("CREATE VIEW dcsh.places_layer AS SELECT 'mine' AS whose")
        before = columns(conn, "dcsh.places_layer")
        migrate.upgrade(database)
        assert columns(conn, "dcsh.places_layer") == before
        if other == "archive":
            registry.drop_archive(conn, "places")
            assert columns(conn, "dcsh.places_layer") == before
            assert columns(conn, "dcsh.places_layer_layer")["code"] == "text"


@pytest.mark.parametrize("older", [False, True])
def test_a_layer_shows_what_its_reader_may_read(older, any_database):
    """By row-level security, and by the rights on what is behind it."""
    with connect(any_database) as conn:
        fill(conn)
        viewer = f"viewer_of_{conn.info.dbname}"
        conn.execute(f"CREATE ROLE {viewer}; GRANT USAGE ON SCHEMA dcsh TO {viewer}")
        conn.execute(f"GRANT SELECT ON dcsh.places_layer, dcsh.places, dcsh.scene TO {viewer}")
        conn.execute("ALTER TABLE dcsh.places ENABLE ROW LEVEL SECURITY")
        conn.execute(f"CREATE POLICY few ON dcsh.places TO {viewer} USING (id <= 3)")
        try:
            if older:
                conn.execute("ALTER VIEW dcsh.places_layer RESET (security_invoker)")
                migrate.upgrade(any_database)
            conn.execute(f"SET ROLE {viewer}")
            shown = conn.execute(
                "SELECT array_agg(id ORDER BY id) FROM dcsh.places_layer"
            ).fetchone()
            assert shown == ([1, 2, 3],)
            conn.execute("RESET ROLE")
            conn.execute(f"REVOKE SELECT ON dcsh.places FROM {viewer}")
            conn.execute(f"SET ROLE {viewer}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("SELECT count(*) FROM dcsh.places_layer")
        finally:
            conn.execute("RESET ROLE")
            conn.execute(f"DROP OWNED BY {viewer}; DROP ROLE {viewer}")


def test_a_layer_is_dumped_and_restored(any_database):
    with connect(any_database) as conn:
        fill(conn)
        _dump_and_restore(conn, any_database)


def _dump_and_restore(conn, database):
    programs = bundled()[max(bundled())]
    dump = subprocess.run(
        [programs / "pg_dump", "--no-owner", database], capture_output=True, check=True
    ).stdout
    # Servers before 17 do not know this setting of pg_dump 18.
    dump = dump.replace(b"SET transaction_timeout = 0;", b"")
    copy = conninfo_to_dict(database)["dbname"] + "_copy"
    restored = make_conninfo(database, dbname=copy)
    conn.execute(f"CREATE DATABASE {copy} TEMPLATE template0")
    try:
        subprocess.run(
            [programs / "psql", "-q", "-v", "ON_ERROR_STOP=1", restored],
            input=dump, capture_output=True, check=True,
        )  # fmt: skip
        everything = "SELECT * FROM dcsh.places_layer ORDER BY id"
        with psycopg.connect(restored) as there:
            assert there.execute(everything).fetchall() == conn.execute(everything).fetchall()
            described = "SELECT obj_description('dcsh.places_layer'::regclass)"
            assert there.execute(described).fetchone() == conn.execute(described).fetchone()
    finally:
        conn.execute(f"DROP DATABASE {copy} WITH (FORCE)")

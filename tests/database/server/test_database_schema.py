"""The schema: upgrades, scripts, rights, odd schemas, search_path, dump and restore."""

import subprocess
from pathlib import Path

import numpy as np
import psycopg
import pytest
import searching as search
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from synthetic import Scene, add, new_archive, rows

from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server import migrate, schema
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.programs import bundled
from dcsh_pg.errors import NotFound, SchemaError, ServerError, UsageError

HERE = Path(__file__).parent

CATALOG = """
    SELECT 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid)
    FROM pg_proc p WHERE pronamespace = ANY (ARRAY['dcsh', 'dcsh_private']::regnamespace[])
    UNION ALL
    SELECT 'column', attrelid::regclass || '.' || attname,
           format_type(atttypid, atttypmod) || attnotnull
    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    WHERE relnamespace = ANY (ARRAY['dcsh', 'dcsh_private']::regnamespace[]) AND attnum > 0
    UNION ALL
    SELECT 'constraint', conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = ANY (ARRAY['dcsh', 'dcsh_private']::regnamespace[])
    UNION ALL
    SELECT 'comment', pg_describe_object(classoid, objoid, objsubid), description
    FROM pg_description WHERE pg_describe_object(classoid, objoid, objsubid) LIKE '%dcsh%'
    ORDER BY 1, 2
"""


def catalog(dsn):
    with psycopg.connect(dsn) as conn:
        return conn.execute(CATALOG).fetchall()


def use(dsn):
    """Loads an archive and searches it."""
    with connect(dsn) as conn:
        schema.require_current(conn)
        loader = Loader(conn, new_archive(conn, "places"))
        add(loader, Scene("a.tif"), np.arange(24, dtype=np.uint8).reshape(3, 8))
        loader.flush()
        assert [hit.id for hit in search.similar_to(conn, "places", 1)] == [2, 3]


@pytest.fixture(params=["dsn", "postgis_dsn"])
def empty(request):
    return request.getfixturevalue(request.param)


def test_a_database_without_schema_is_refused(dsn):
    with connect(dsn) as conn:
        with pytest.raises(SchemaError, match="has no dcsh-pg schema") as error:
            schema.require_current(conn)
        assert "dcsh-pg db upgrade" in error.value.hint
        assert schema.status(conn).revision is None


def test_a_newer_schema_is_refused(database):
    with connect(database) as conn:
        conn.execute("UPDATE dcsh.alembic_version SET version_num = '9999'")
        with pytest.raises(SchemaError, match="newer dcsh-pg"):
            schema.require_current(conn)
    with pytest.raises(SchemaError, match="newer dcsh-pg"):
        migrate.upgrade(database)


def test_functions_of_another_release_are_refused_until_the_upgrade(database):
    with connect(database) as conn:
        conn.execute(
            "CREATE OR REPLACE FUNCTION dcsh_private.functions_digest() RETURNS text RETURN 'x'"
        )
        with pytest.raises(SchemaError, match="are those of another dcsh-pg") as error:
            schema.require_current(conn)
        assert "dcsh-pg db upgrade" in error.value.hint
        assert not schema.status(conn).current
        migrate.ensure(conn)
        schema.require_current(conn)


FIRST_ARCHIVE = """
    INSERT INTO dcsh.model (sha256, name, method, bits, bands, card, onnx)
        VALUES (encode(sha256('onnx'), 'hex'), 'm', 'itq', 64, 3, '{}', 'onnx');
    SELECT dcsh.create_archive('first', encode(sha256('onnx'), 'hex'), '{}');
    BEGIN;
    SELECT dcsh.begin_load();
    INSERT INTO pg_temp.dcsh_batch_scene (n, uri, content_hash, properties, skipped)
        VALUES (0, 'a.tif', 'a', '{}', 0);
    INSERT INTO pg_temp.dcsh_batch_chip
            (n, scene, col_off, row_off, width, height, valid_fraction, code)
        SELECT n, 0, 64 * n, 0, 64, 64, 1, n::bit(64) FROM generate_series(0, 1) n;
    SELECT dcsh.end_load('first');
    COMMIT;
"""


@pytest.mark.parametrize(
    ("empty", "layer"), [("dsn", "core"), ("postgis_dsn", "postgis")], indirect=["empty"]
)
def test_a_database_of_the_first_schema_is_upgraded_and_works(empty, layer):
    """``first_schema_*.sql`` is the script of the first commit that had a schema."""
    with psycopg.connect(empty, autocommit=True) as conn:
        if layer == "postgis":
            conn.execute("CREATE EXTENSION postgis")
        conn.execute((HERE / f"first_schema_{layer}.sql").read_text())
        conn.execute(FIRST_ARCHIVE)
        before = rows(conn, "first")
    with connect(empty) as conn, pytest.raises(SchemaError):
        schema.require_current(conn)
    migrate.upgrade(empty)
    with connect(empty) as conn:
        assert len(before) == 2 and rows(conn, "first") == before
        assert [(hit.id, hit.distance) for hit in search.similar_to(conn, "first", 1)] == [(2, 1)]
        assert conn.execute("SELECT count(*) FROM dcsh.first_layer").fetchone() == (2,)
        conn.execute("SELECT dcsh.drop_archive('first')")
    upgraded = catalog(empty)
    use(empty)
    with psycopg.connect(empty, autocommit=True) as conn:
        conn.execute("DROP SCHEMA dcsh, dcsh_private CASCADE")
    migrate.upgrade(empty)
    assert catalog(empty) == upgraded


BACK_TO_0003 = """
    DO $$
    DECLARE
        former regprocedure;
        moved text;
    BEGIN
        FOR former IN SELECT oid FROM pg_proc WHERE pronamespace = 'dcsh_private'::regnamespace LOOP
            EXECUTE format('ALTER FUNCTION %s SET SCHEMA dcsh', former);
            EXECUTE format('ALTER FUNCTION %s RENAME TO %I', former,
                           '_' || (SELECT proname FROM pg_proc WHERE oid = former));
        END LOOP;
        FOR moved IN SELECT typname FROM pg_type
                     WHERE typnamespace = 'dcsh_private'::regnamespace AND typcategory = 'C'
                         AND typname <> 'load_lock' LOOP
            EXECUTE format('ALTER TYPE dcsh_private.%I SET SCHEMA dcsh', moved);
            EXECUTE format('ALTER TYPE dcsh.%I RENAME TO %I', moved, '_' || moved);
        END LOOP;
    END
    $$;
    ALTER TABLE dcsh_private.load_lock SET SCHEMA dcsh;
    ALTER TABLE dcsh.load_lock RENAME TO _load_lock;
    DROP SCHEMA dcsh_private;
    UPDATE dcsh.alembic_version SET version_num = '0003';
"""


def test_private_objects_move_with_their_rights_and_what_depends_on_them(any_database):
    role = f"user_of_{conninfo_to_dict(any_database)['dbname']}"
    use(any_database)
    wanted = catalog(any_database)
    with psycopg.connect(any_database, autocommit=True) as conn:
        conn.execute(BACK_TO_0003)
        conn.execute(
            f"""
            CREATE ROLE {role} LOGIN PASSWORD 'role';
            GRANT USAGE ON SCHEMA dcsh TO {role};
            GRANT SELECT ON ALL TABLES IN SCHEMA dcsh TO {role};
            GRANT INSERT ON dcsh.model TO {role};
            GRANT UPDATE (last_chip_id) ON dcsh.archive TO {role};
            GRANT INSERT, UPDATE, DELETE ON dcsh.scene, dcsh.ingest_error TO {role};
            GRANT INSERT, DELETE ON dcsh.places TO {role};
            GRANT DELETE ON dcsh._load_lock TO {role};
            ALTER DEFAULT PRIVILEGES IN SCHEMA dcsh GRANT EXECUTE ON FUNCTIONS TO {role};
            GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dcsh TO {role};
            CREATE VIEW public.entropies AS SELECT dcsh._entropy(valid_fraction) FROM dcsh.places;
            CREATE TABLE public.shares (
                share float8, entropy float8 GENERATED ALWAYS AS (dcsh._entropy(share)) STORED);
            CREATE INDEX ON public.shares (dcsh._entropy(share));
            INSERT INTO public.shares VALUES (0.5);
            """
        )
    try:
        migrate.upgrade(any_database)
        assert catalog(any_database) == wanted
        with psycopg.connect(any_database, autocommit=True) as conn:
            conn.execute("INSERT INTO public.shares VALUES (1)")
            assert conn.execute("SELECT entropy FROM public.shares").fetchall() == [(1,), (0,)]
            assert conn.execute("SELECT * FROM public.entropies").fetchall() == [(0,)] * 3
        with connect(make_conninfo(any_database, user=role, password="role")) as conn:
            schema.require_current(conn)
            assert [hit.id for hit in search.similar_to(conn, "places", 1)] == [2, 3]
            loader = Loader(conn, registry.get_archive(conn, "places"))
            add(loader, Scene("b.tif"), np.arange(8, dtype=np.uint8).reshape(1, 8))
            loader.flush()
            assert registry.get_archive(conn, "places").chips == 4
    finally:
        with psycopg.connect(any_database, autocommit=True) as conn:
            conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_private_schema_of_another_role_is_refused(dsn):
    role = f"squatter_of_{conninfo_to_dict(dsn)['dbname']}"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {role}; CREATE SCHEMA dcsh_private AUTHORIZATION {role}")
        try:
            with pytest.raises(ServerError, match=f"schema dcsh_private belongs to role {role}"):
                migrate.upgrade(dsn)
            assert conn.execute("SELECT to_regnamespace('dcsh')").fetchone() == (None,)
        finally:
            conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_upgrade_twice_changes_nothing(empty):
    migrate.upgrade(empty)
    before = catalog(empty)
    migrate.upgrade(empty)
    assert catalog(empty) == before


def test_the_script_creates_the_same_schema(empty, embedded_admin, request):
    script = migrate.script(empty)
    with psycopg.connect(empty, autocommit=True) as conn:
        conn.execute(script)
    scripted = catalog(empty)
    use(empty)
    with psycopg.connect(empty, autocommit=True) as conn:
        conn.execute("DROP SCHEMA dcsh CASCADE")  # Leaves a part of dcsh_private.
    migrate.upgrade(empty)
    assert catalog(empty) == scripted


def test_a_script_without_a_database_requires_a_spatial_layer():
    assert "geometry(Polygon, 4326)" in migrate.script(spatial="postgis")
    assert "geometry(Polygon" not in migrate.script(spatial="core")
    with pytest.raises(UsageError, match="needs a database"):
        migrate.script()


def test_the_script_of_a_current_database_only_replaces_functions(database):
    script = migrate.script(database)
    assert "CREATE TABLE dcsh.archive" not in script
    assert "FUNCTION dcsh.similar" in script


def test_the_spatial_layer_cannot_be_changed_later(database):
    with pytest.raises(SchemaError, match="stores footprints as polygon, not as PostGIS geometry"):
        migrate.upgrade(database, spatial="postgis")


def test_every_public_object_has_a_comment(any_database):
    with connect(any_database) as conn:
        new_archive(conn, "places")
        bare = conn.execute(
            """
            SELECT oid::regprocedure::text FROM pg_proc
            WHERE pronamespace = ANY (ARRAY['dcsh', 'dcsh_private']::regnamespace[]) AND obj_description(oid, 'pg_proc') IS NULL
            UNION ALL
            SELECT oid::regclass::text FROM pg_class
            WHERE relnamespace = ANY (ARRAY['dcsh', 'dcsh_private']::regnamespace[]) AND relkind IN ('r', 'v')
                AND obj_description(oid, 'pg_class') IS NULL
            UNION ALL
            SELECT attrelid::regclass || '.' || attname
            FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
            WHERE relnamespace = ANY (ARRAY['dcsh', 'dcsh_private']::regnamespace[]) AND relkind IN ('r', 'v', 'c')
                AND attnum > 0 AND col_description(attrelid, attnum) IS NULL
            UNION ALL
            SELECT oid::regtype::text FROM pg_type
            WHERE oid IN ('dcsh.area'::regtype, 'dcsh.hit'::regtype)
                AND obj_description(oid, 'pg_type') IS NULL
            """
        ).fetchall()
        assert bare == []


def test_functions_have_no_overloads_and_pin_their_search_path(any_database):
    with connect(any_database) as conn:
        names = [row[0] for row in conn.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = ANY (ARRAY['dcsh', 'dcsh_private']::regnamespace[])"
        )]  # fmt: skip
        private = conn.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'dcsh'::regnamespace AND proname ~ '^_'"
        ).fetchall()
        loose = conn.execute(
            """
            SELECT proname FROM pg_proc JOIN pg_language l ON l.oid = prolang
            WHERE pronamespace = ANY (ARRAY['dcsh', 'dcsh_private']::regnamespace[]) AND prosqlbody IS NULL AND lanname <> 'c'
                AND NOT coalesce('search_path=pg_catalog, dcsh, pg_temp' = ANY (proconfig), false)
            """
        ).fetchall()
    assert len(names) == len(set(names))
    assert loose == private == []


@pytest.mark.parametrize(
    ("empty", "layer"),
    [("dsn", "core"), ("postgis_dsn", "core"), ("postgis_dsn", "postgis")],
    indirect=["empty"],
)
def test_a_plain_owner_with_extensions_in_an_odd_schema(empty, layer):
    """No superuser, nothing in public, and a search_path that leads nowhere."""
    name = conninfo_to_dict(empty)["dbname"]
    owner = f"owner_of_{name}"
    admin = psycopg.connect(empty, autocommit=True)
    admin.execute('CREATE SCHEMA "Odd, ""schema"')
    admin.execute('CREATE EXTENSION vector SCHEMA "Odd, ""schema"')
    if layer == "postgis":
        admin.execute('CREATE SCHEMA "geo"; CREATE EXTENSION postgis SCHEMA geo')
    admin.execute(f"CREATE ROLE {owner} LOGIN PASSWORD 'owner'")
    admin.execute('DROP SCHEMA public; GRANT USAGE ON SCHEMA "Odd, ""schema" TO PUBLIC')
    if layer == "postgis":
        admin.execute("GRANT USAGE ON SCHEMA geo TO PUBLIC")
    admin.execute(f"ALTER ROLE {owner} SET search_path = nowhere, '$user'")
    as_owner = make_conninfo(empty, user=owner, password="owner")
    try:
        with pytest.raises(ServerError, match="permission denied") as error:
            migrate.upgrade(as_owner)
        assert f'CREATE SCHEMA IF NOT EXISTS dcsh AUTHORIZATION "{owner}"' in error.value.hint
        admin.execute(f"CREATE SCHEMA dcsh AUTHORIZATION {owner}")
        with pytest.raises(ServerError, match="permission denied") as error:
            migrate.upgrade(as_owner)
        assert (
            f'CREATE SCHEMA IF NOT EXISTS dcsh_private AUTHORIZATION "{owner}"' in error.value.hint
        )
        admin.execute(f"CREATE SCHEMA dcsh_private AUTHORIZATION {owner}")
        assert migrate.upgrade(as_owner).layer == layer
        use(as_owner)
    finally:
        admin.execute(
            f"DROP OWNED BY {owner} CASCADE; DROP SCHEMA IF EXISTS dcsh, dcsh_private CASCADE"
        )
        admin.execute(f"DROP ROLE {owner}")
        admin.close()


def test_a_reader_can_search_and_not_write(any_database):
    reader = f"reader_of_{conninfo_to_dict(any_database)['dbname']}"
    use(any_database)
    with psycopg.connect(any_database, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {reader} LOGIN PASSWORD 'reader'")
        admin.execute(f"GRANT USAGE ON SCHEMA dcsh, dcsh_private TO {reader}")
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA dcsh TO {reader}")
    try:
        with connect(make_conninfo(any_database, user=reader, password="reader")) as conn:
            schema.require_current(conn)
            assert [hit.id for hit in search.similar_to(conn, "places", 1)] == [2, 3]
            assert registry.get_archive(conn, "places").chips == 3
            with pytest.raises(ServerError, match=r"permission denied|must be owner"):
                registry.drop_archive(conn, "places")
    finally:
        with psycopg.connect(any_database, autocommit=True) as admin:
            admin.execute(f"DROP OWNED BY {reader}; DROP ROLE {reader}")


def test_dump_and_restore(any_database):
    use(any_database)
    copy = conninfo_to_dict(any_database)["dbname"] + "_copy"
    restored = make_conninfo(any_database, dbname=copy)
    programs = bundled()[max(bundled())]
    dump = subprocess.run(
        [programs / "pg_dump", "--no-owner", any_database], capture_output=True, check=True
    ).stdout
    with psycopg.connect(any_database, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {copy} TEMPLATE template0")
        try:
            subprocess.run(
                [programs / "psql", "-q", "-v", "ON_ERROR_STOP=1", restored],
                input=_for_older(dump), capture_output=True, check=True,
            )  # fmt: skip
            with connect(restored) as conn, connect(any_database) as first:
                schema.require_current(conn)
                assert rows(conn, "places") == rows(first, "places")
                assert search.similar_to(conn, "places", 1) == search.similar_to(first, "places", 1)
                new_archive(conn, "more", bits=128)
            assert catalog(restored)
        finally:
            admin.execute(f"DROP DATABASE {copy} WITH (FORCE)")


def _for_older(dump):
    """A dump by pg_dump 18 without the settings that older servers do not know."""
    return b"\n".join(
        line for line in dump.split(b"\n") if not line.startswith(b"SET transaction_timeout")
    )


def test_archive_names_are_checked(core):
    for name in ("Places", "1st", "a b", "x" * 49, ""):
        with pytest.raises(UsageError, match="not a valid archive name"):
            new_archive(core, name)
    for name in ("scene", "model", "similar", "hit", "area"):
        with pytest.raises(UsageError, match="cannot be named"):
            new_archive(core, name)
    new_archive(core, "places")
    with pytest.raises(UsageError, match="already exists"):
        new_archive(core, "places")
    with pytest.raises(NotFound) as error:
        registry.get_archive(core, "place")
    assert error.value.hint == "did you mean 'places'?"


def test_models_are_stored_once_and_returned_unchanged(core):
    record = new_archive(core, "places")
    assert new_archive(core, "more").model_sha256 == record.model_sha256
    assert registry.load_model(core, record.model_sha256) == b"model of 64 bits"
    with pytest.raises(NotFound):
        registry.load_model(core, "0" * 64)


def test_extent_and_removal(conn):
    import shapely

    loader = Loader(conn, new_archive(conn, "places"))
    boxes = [shapely.box(1, 2, 3, 4), shapely.box(2, 0, 5, 3)]
    add(loader, Scene("a", properties={"label": "x"}), np.zeros((2, 8), np.uint8), boxes)
    add(loader, Scene("b"), np.zeros((1, 8), np.uint8))
    loader.flush()
    assert registry.extent(conn, "places") == {
        "bounds": [1, 0, 5, 4], "acquired": None, "properties": ["label"],
    }  # fmt: skip
    assert registry.remove_scene(conn, "places", "a") == 2
    assert registry.extent(conn, "places")["bounds"] is None
    with pytest.raises(NotFound, match='no scene "a"'):
        registry.remove_scene(conn, "places", "a")


def test_a_role_that_may_not_create_pgvector_gets_the_commands_for_its_administrator(dsn):
    name = conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE owner_of_{name} LOGIN PASSWORD 'owner'")
        admin.execute(f"GRANT CREATE ON DATABASE {name} TO owner_of_{name}")
        try:
            with pytest.raises(ServerError, match='create extension "vector"') as error:
                migrate.upgrade(make_conninfo(dsn, user=f"owner_of_{name}", password="owner"))
            assert "CREATE EXTENSION IF NOT EXISTS vector;" in error.value.hint
        finally:
            admin.execute(f"DROP OWNED BY owner_of_{name}; DROP ROLE owner_of_{name}")

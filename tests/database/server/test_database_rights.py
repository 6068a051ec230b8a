"""Rights of a reader, a writer and an owner, and how each is granted."""

from __future__ import annotations

import subprocess
import uuid
from contextlib import contextmanager

import numpy as np
import psycopg
import pytest
import searching as search
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import InsufficientPrivilege
from synthetic import Scene, add, new_archive

from dcsh_pg.database.archives import registry, upkeep
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server import migrate, rights, schema
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.programs import bundled
from dcsh_pg.errors import NotFound, ServerError
from dcsh_pg.progress import Progress

CODES = np.arange(24, dtype=np.uint8).reshape(3, 8)


class Notes(Progress):
    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


@contextmanager
def roles(dsn, *names):
    """Login roles for the time of the block, which own nothing outside of the database of the DSN
    when it ends; gives a function that makes a DSN one of theirs."""
    mark = uuid.uuid4().hex[:8]
    made = {name: f"{name}_{mark}" for name in names}
    with psycopg.connect(dsn, autocommit=True) as conn:
        for role in made.values():
            conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    try:
        yield lambda dsn, name: make_conninfo(dsn, user=made[name], password="secret")
    finally:
        with psycopg.connect(dsn, autocommit=True) as conn:
            for role in made.values():
                conn.execute(f"DROP OWNED BY {role} CASCADE")
                conn.execute(f"DROP ROLE {role}")


def user(dsn):
    return conninfo_to_dict(dsn)["user"]


def load(conn, name, uri):
    loader = Loader(conn, registry.get_archive(conn, name))
    add(loader, Scene(uri), CODES)
    loader.flush()
    return loader


def use_as_owner(dsn):
    """What the owner of the schema may do, which is everything."""
    with connect(dsn) as conn:
        schema.require_current(conn)
        new_archive(conn, "mine")
        load(conn, "mine", "a.tif").finish()
        assert [hit.id for hit in search.similar_to(conn, "mine", 1)] == [2, 3]
        assert registry.remove_scene(conn, "mine", "a.tif") == 3
        registry.drop_archive(conn, "mine")


@pytest.fixture
def granted(database):
    """An archive, and DSNs of a reader, a writer, and a stranger that may only enter the schema."""
    with roles(database, "reader", "writer", "stranger") as role:
        dsns = [role(database, name) for name in ("reader", "writer", "stranger")]
        with connect(database) as conn:
            new_archive(conn, "places")
            load(conn, "places", "a.tif")
            rights.grant(conn, user(dsns[0]))
            rights.grant(conn, user(dsns[1]), write=True)
            conn.execute(f"GRANT USAGE ON SCHEMA dcsh, dcsh_private TO {user(dsns[2])}")
            new_archive(conn, "later")
        yield dsns


def test_a_reader_reads_all_archives_and_writes_nothing(granted):
    reader, *_ = granted
    with connect(reader) as conn:
        schema.require_current(conn)
        assert [hit.id for hit in search.similar_to(conn, "places", 1)] == [2, 3]
        assert registry.get_archive(conn, "later").chips == 0
        for statement in (
            "SELECT dcsh.begin_load()",
            "SELECT dcsh.end_load('places', 1, 'x')",
            "SELECT dcsh.remove_scene('places', 'a.tif')",
            "SELECT dcsh.drop_archive('places')",
            "SELECT dcsh.remove_scenes('places', '{}')",
            "SELECT dcsh.relocate_scenes('places', '/a', '/b')",
            "SELECT dcsh.rename_archive('places', 'mine')",
            "SELECT dcsh.create_code_index('places')",
            "SELECT dcsh.drop_code_index('places')",
            "SELECT dcsh.create_archive('mine', 'x', '{}')",
            "LOCK TABLE dcsh_private.load_lock IN EXCLUSIVE MODE",
            "LOCK TABLE dcsh_private.load_lock IN ROW SHARE MODE",
            "DELETE FROM dcsh.places",
            "DELETE FROM dcsh.ingest_error",
            "UPDATE dcsh.archive SET last_chip_id = 0",
            "SELECT FROM dcsh.archive FOR UPDATE",
            "SELECT FROM dcsh.archive FOR KEY SHARE",
            "UPDATE dcsh.alembic_version SET version_num = '9'",
            "CREATE TABLE dcsh.mine ()",
        ):
            with pytest.raises(InsufficientPrivilege), conn.transaction():
                conn.execute(statement)


def test_public_may_execute_only_reading_functions(granted, database):
    *_, stranger = granted
    with psycopg.connect(database) as conn:
        rows = conn.execute(
            """
            SELECT p.proname, p.provolatile = 'v' AND p.proname <> 'explain',
                   has_function_privilege(%s, p.oid, 'EXECUTE')
            FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
            WHERE pronamespace = ANY (ARRAY['dcsh', 'dcsh_private']::regnamespace[])
                AND l.lanname <> 'c'
            """,
            [user(stranger)],
        ).fetchall()
    assert {name for name, writes, may in rows if writes == may} == set()
    assert {"end_load", "drop_archive", "remove_scene"} <= {
        name for name, writes, _ in rows if writes
    }


def test_a_writer_loads_and_removes_and_changes_no_archive(granted):
    _, writer, _ = granted
    with connect(writer) as conn:
        for name in ("places", "later"):
            load(conn, name, "b.tif")
            assert registry.remove_scene(conn, name, "b.tif") == 3
        for name in ("places", "later"):
            loader = load(conn, name, "c.tif")
            moved = Scene("/moved.tif", content_hash=Scene("c.tif").content_hash)
            assert loader.rename([moved]) == 1
            assert upkeep.relocate(conn, name, "/moved.tif", "/again.tif") == 1
            assert upkeep.remove_scenes(conn, name, [2, 3, 4]) == (1, 3)
        with pytest.raises(ServerError, match="only the owner of archive"):
            upkeep.rename_archive(conn, "places", "mine")
        with pytest.raises(ServerError, match="only the owner of archive"):
            load(conn, "later", "c.tif").finish()
        registry.store_model(conn, registry.get_archive(conn, "later").card, b"another")
        for statement in (
            "SELECT dcsh.drop_archive('places')",
            "SELECT dcsh.create_archive('mine', encode(sha256('another'), 'hex'), '{}')",
            "UPDATE dcsh.archive SET name = 'mine'",
            "UPDATE dcsh.places SET code = ~code",
            "UPDATE dcsh.model SET name = 'x'",
            "DELETE FROM dcsh.model",
            "DELETE FROM dcsh.archive",
            "TRUNCATE dcsh.places",
            "CREATE FUNCTION dcsh.mine() RETURNS integer RETURN 1",
        ):
            with pytest.raises(InsufficientPrivilege), conn.transaction():
                conn.execute(statement)


def test_a_grant_runs_whatever_search_path_was_set_when_it_was_printed(database):
    with roles(database, "reader") as role, connect(database) as admin:
        homes = admin.execute(
            "SELECT extnamespace::regnamespace::text FROM pg_extension"
        ).fetchall()
        admin.execute("SET search_path = " + ", ".join(sorted({home for (home,) in homes})))
        lines = rights.statements(admin, user(role(database, "reader")))
        admin.execute("SET search_path = pg_catalog")
        for line in lines:
            admin.execute(line)


def test_each_right_of_a_writer_is_needed(database):
    with roles(database, "writer") as role, connect(database) as admin:
        new_archive(admin, "places")
        writer = role(database, "writer")
        lines = rights.statements(admin, user(writer), write=True)
        # PUBLIC has these unless the database takes them away.
        lines = [line for line in lines if not line.startswith("GRANT EXECUTE ON FUNCTION ")]
        assert len(lines) == 11
        admin.execute("REVOKE TEMPORARY ON DATABASE " + admin.info.dbname + " FROM PUBLIC")
        lines.append(f"GRANT TEMPORARY ON DATABASE {admin.info.dbname} TO {user(writer)}")
        for n, left_out in enumerate([None, *lines]):
            for line in lines:
                if line != left_out:
                    admin.execute(line)
            new_archive(admin, f"new{n}")
            try:
                with connect(writer) as conn:
                    schema.require_current(conn)
                    for name in ("places", f"new{n}"):
                        for uri in ("a.tif", "b.tif"):
                            load(conn, name, uri)
                        Loader(conn, registry.get_archive(conn, name)).record_error("c", "m", None)
                        registry.remove_scene(conn, name, "a.tif")
                        registry.remove_scene(conn, name, "b.tif")
                    card = registry.get_archive(conn, "places").card
                    registry.store_model(conn, card, b"model %d" % n)
                failed = False
            except (InsufficientPrivilege, ServerError):
                failed = True
            # New functions are PUBLIC's until the next upgrade.
            assert failed == (left_out is not None and "EXECUTE ON FUNCTIONS" not in left_out), (
                left_out
            )
            admin.execute(f"DROP OWNED BY {user(writer)}")


def test_a_role_without_rights_cannot_block_a_load(granted, database):
    *_, stranger = granted
    with connect(stranger) as other, connect(database) as conn:
        for key in ("dcsh.scene", "dcsh.upgrade"):
            other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [key])
        conn.execute("SET lock_timeout = '5s'")
        load(conn, "places", "b.tif")
        migrate.upgrade(make_conninfo(database, options="-c lock_timeout=5s"))


def test_the_hint_for_a_missing_schema_right_is_the_grant(embedded_admin, make_database):
    with (
        roles(embedded_admin, "reader") as role,
        make_database(embedded_admin) as dsn,
        psycopg.connect(dsn, autocommit=True) as admin,
    ):
        admin.execute("CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext")
        migrate.upgrade(dsn)
        reader = role(dsn, "reader")
        with connect(dsn) as conn:
            new_archive(conn, "places")
            load(conn, "places", "a.tif")
        with connect(reader) as conn:
            with pytest.raises(ServerError, match="permission denied for schema dcsh") as error:
                schema.require_current(conn)
            assert error.value.hint.endswith(f"dcsh-pg db grant --read {user(reader)}")
            admin.execute(f"GRANT USAGE ON SCHEMA dcsh TO {user(reader)}")
            with pytest.raises(ServerError, match="for schema dcsh_private") as error:
                schema.require_current(conn)
            assert error.value.hint.endswith(f"dcsh-pg db grant --read {user(reader)}")
            admin.execute(f"GRANT USAGE ON SCHEMA dcsh_private TO {user(reader)}")
            with pytest.raises(ServerError, match="permission denied for schema ext") as error:
                schema.require_current(conn)
            assert error.value.hint.endswith(f"GRANT USAGE ON SCHEMA ext TO {user(reader)}")
            with connect(dsn) as owner:
                rights.grant(owner, user(reader))
            assert [hit.id for hit in search.similar_to(conn, "places", 1)] == [2, 3]


def test_only_the_owner_grants_and_only_to_existing_roles(granted, database):
    _, writer, stranger = granted
    with connect(database) as conn, pytest.raises(NotFound, match="role 'nobody'"):
        rights.grant(conn, "nobody")
    with connect(writer) as conn, pytest.raises(ServerError, match="only the owner"):
        rights.grant(conn, user(stranger))


def run_script(dsn, script):
    """Runs a script as psql does; returns what it prints on stderr."""
    psql = bundled()[max(bundled())] / "psql"
    command = [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", dsn]
    done = subprocess.run(command, input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("server", "layer"), [("embedded_admin", "core"), ("postgis_admin", "postgis")]
)
def test_the_script_transfers_the_schema_to_its_owner(server, layer, request, make_database):
    admin = request.getfixturevalue(server)
    with roles(admin, "app") as role, make_database(admin) as dsn:
        app = role(dsn, "app")
        script = migrate.script(spatial=layer, owner=user(app))
        assert script.startswith("-- Schema dcsh of dcsh-pg") and f"role {user(app)}" in script
        assert run_script(dsn, script) == ""
        use_as_owner(app)
        notes = Notes()
        migrate.upgrade(app, progress=notes)
        assert len(notes.lines) == 1 and "up to date" in notes.lines[0]
        assert run_script(dsn, migrate.script(dsn, owner=user(app))) == ""
        use_as_owner(app)


def test_the_script_transfers_a_schema_of_another_owner(database):
    with roles(database, "app") as role:
        app = role(database, "app")
        with connect(database) as conn:
            new_archive(conn, "places")
            load(conn, "places", "a.tif")
            conn.execute(f"ALTER SCHEMA dcsh OWNER TO {user(app)}")
            conn.execute(f"ALTER SCHEMA dcsh_private OWNER TO {user(app)}")
            conn.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA dcsh TO {user(app)}")
        migrate.upgrade(database)
        with pytest.raises(
            ServerError, match=r"role 'app_.*' cannot upgrade .*: it belongs to dcsh"
        ) as error:
            migrate.upgrade(app)
        assert f"--sql --owner {user(app)}" in error.value.hint
        run_script(database, migrate.script(database, owner=user(app)))
        migrate.upgrade(app)
        use_as_owner(app)
        with connect(app) as conn:
            assert registry.get_archive(conn, "places").chips == 3
            registry.drop_archive(conn, "places")


def test_an_upgrade_by_a_superuser_keeps_the_owner(database):
    with roles(database, "app") as role:
        app = role(database, "app")
        run_script(database, migrate.script(database, owner=user(app)))
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute("DROP FUNCTION dcsh.hamming(bit, bit) CASCADE")
        migrate.upgrade(database)
        migrate.upgrade(app)
        use_as_owner(app)


def test_an_upgrade_warns_of_a_schema_that_others_may_write_to(database):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT CREATE ON SCHEMA dcsh, dcsh_private TO pg_monitor"
        )
    notes = Notes()
    migrate.upgrade(database, progress=notes)
    assert [line for line in notes.lines if line.startswith("warning")] == [
        'warning: other roles may create objects in schema "dcsh", which searches use: pg_monitor '
        "(REVOKE CREATE ON SCHEMA dcsh FROM pg_monitor)",
        'warning: other roles may create objects in schema "dcsh_private", which searches use: '
        "pg_monitor (REVOKE CREATE ON SCHEMA dcsh_private FROM pg_monitor)",
        'warning: other roles may create objects in schema "public", which searches use: PUBLIC '
        "(REVOKE CREATE ON SCHEMA public FROM PUBLIC)",
    ]

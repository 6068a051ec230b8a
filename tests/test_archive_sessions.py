"""Archives that several sessions open, make, drop and make anew, and connections that end."""

import contextlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg import Archive
from dcsh_pg.cli.main import app
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.errors import ModelError, NotFound, ServerError


@pytest.fixture(scope="session")
def other_model(model_file, tmp_path_factory):
    """The model under another SHA-256, of the same number of bits."""
    import onnx

    model = onnx.load(model_file)
    model.producer_version = "another"
    file = tmp_path_factory.mktemp("other") / "other.onnx"
    file.write_bytes(model.SerializeToString())
    return file


@pytest.fixture
def two(database):
    with connect(database) as first, connect(database) as second:
        yield first, second


def test_a_load_is_refused_when_its_archive_was_made_anew(two):
    conn, other = two
    loader = Loader(conn, new_archive(conn, "places"))
    add(loader, Scene("a.tif"), np.zeros((2, 8), np.uint8))
    registry.drop_archive(other, "places")
    new_archive(other, "places")
    with pytest.raises(NotFound, match="dropped or replaced while it was being loaded"):
        loader.flush()
    with pytest.raises(NotFound, match="dropped or replaced while it was being loaded"):
        loader.record_error("b.tif", "bad", None)
    assert other.execute("SELECT count(*) FROM dcsh.places").fetchone() == (0,)
    assert registry.get_archive(other, "places").scenes == 0


def test_a_load_is_refused_when_its_archive_has_another_model(two):
    conn, other = two
    loader = Loader(conn, new_archive(conn, "places"))
    add(loader, Scene("a.tif"), np.zeros((2, 8), np.uint8))
    new_archive(other, "elsewhere", 128)
    other.execute(
        "UPDATE dcsh.archive SET model_id = (SELECT max(id) FROM dcsh.model) WHERE name = 'places'"
    )
    with pytest.raises(NotFound, match="dropped or replaced"):
        loader.flush()


def test_codes_of_one_model_never_enter_an_archive_of_another(
    database, model_file, other_model, scenes
):
    """The archive is dropped and made anew with another model while it is being loaded."""
    archive = Archive.create("a", model_file, dsn=database)

    class Meanwhile:
        def __init__(self, hasher):
            self.hasher, self.card, self.provider = hasher, hasher.card, hasher.provider

        def hash(self, images):
            if archive.record.id == registry.get_archive(other, "a").id:
                registry.drop_archive(other, "a")
                Archive.create("a", other_model, dsn=database)
            return self.hasher.hash(images)

    with connect(database) as other:
        archive.__dict__["hasher"] = Meanwhile(archive.hasher)
        with pytest.raises(NotFound, match="dropped or replaced"):
            archive.ingest([str(scenes)])
        assert registry.get_archive(other, "a").chips == 0
        assert other.execute("SELECT count(*) FROM dcsh.a").fetchone() == (0,)


def test_an_archive_just_made_is_not_taken_for_one_that_replaces_it(
    database, model_file, other_model, scenes, monkeypatch
):
    """It is dropped and made anew with another model between its making and the reading of its record."""
    get_archive = registry.get_archive

    def late(conn, name):
        monkeypatch.undo()
        with (
            psycopg.connect(database, autocommit=True) as other,
            contextlib.suppress(psycopg.errors.UndefinedTable),
        ):
            other.execute("SELECT dcsh.drop_archive('a')")
            Archive.create("a", other_model, dsn=database).connection.close()
        return get_archive(conn, name)

    archive = Archive.create("a", model_file, dsn=database, at_once=False)
    monkeypatch.setattr(registry, "get_archive", late)
    archive.ingest([str(sorted(scenes.glob("*.tif"))[0])])
    stored = registry.get_archive(archive.connection, "a")
    assert stored.chips
    assert stored.model_sha256 == archive.hasher.sha256


def test_a_picture_is_not_searched_for_among_codes_of_another_model(
    database, model_file, other_model, scenes
):
    archive = Archive.create("a", model_file, dsn=database)
    registry.drop_archive(archive.connection, "a")
    Archive.create("a", other_model, dsn=database)
    with pytest.raises(NotFound, match="dropped, replaced or hashed again since it was opened"):
        archive.query_image(next(scenes.glob("*.tif")), window=(0, 0, 64, 64))


def test_a_source_of_no_use_leaves_no_archive_and_drops_none(database, model_file, tmp_path):
    def ingest():
        command = ["ingest", "a", str(tmp_path), "--model", str(model_file), "--dsn", database]
        return CliRunner().invoke(app, command)

    assert ingest().exit_code == 6
    with connect(database) as conn:
        assert registry.list_archives(conn) == []
        Archive.create("a", model_file, dsn=database)
        assert ingest().exit_code == 6
        assert [archive.name for archive in registry.list_archives(conn)] == ["a"]


def test_an_archive_put_off_opens_what_another_session_made(
    database, model_file, other_model, scenes
):
    first, second, third = (
        Archive.create("a", model, dsn=database, at_once=False)
        for model in (model_file, model_file, other_model)
    )
    one = str(sorted(scenes.glob("*.tif"))[0])
    assert first.ingest([one]).stored == 1
    assert second.ingest([one]).known == 1
    assert (first.is_new, second.is_new) == (True, False)
    with pytest.raises(ModelError, match="holds codes of model"):
        third.ingest([one])


def test_only_an_empty_archive_is_made_anew(database, model_file, other_model, scenes, tmp_path):
    bad = tmp_path / "bad.tif"
    bad.touch()
    archive = Archive.create("a", model_file, dsn=database)
    archive.ingest([str(bad)])
    shutil.copy(sorted(scenes.glob("*.tif"))[0], tmp_path / "good.tif")
    stale = registry.get_archive(archive.connection, "a")
    archive.ingest([str(tmp_path)])
    assert registry.drop_empty_archive(archive.connection, stale) is False
    with pytest.raises(ModelError):
        Archive.create("a", other_model, dsn=database)
    assert registry.get_archive(archive.connection, "a").scenes == 1


def test_of_sessions_that_make_an_archive_at_once_one_makes_it(database, model_file, scenes):
    start = threading.Barrier(4)

    def make(_):
        start.wait()
        return Archive.create("a", model_file, dsn=database)

    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(make, range(4)))
        assert sorted(archive.is_new for archive in made) == [False, False, False, True]
        assert len({archive.record.id for archive in made}) == 1
        registry.drop_archive(made[0].connection, "a")
        for archive in made:
            archive.connection.close()


def test_a_second_drop_leaves_the_archive_that_was_made_in_between(two, database):
    conn, other = two
    new_archive(conn, "places")
    with ThreadPoolExecutor(1) as pool:
        with conn.transaction():
            conn.execute("SELECT dcsh.drop_archive('places')")
            late = pool.submit(other.execute, "SELECT dcsh.drop_archive('places')")
            with psycopg.connect(database, autocommit=True) as watch:
                waiting = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
                while not watch.execute(waiting, [other.info.backend_pid]).fetchall():
                    pass
            new_archive(conn, "places")
        with pytest.raises(psycopg.errors.UndefinedTable):
            late.result()
    assert registry.get_archive(conn, "places").chips == 0
    assert conn.execute("SELECT count(*) FROM dcsh.places").fetchone() == (0,)


def test_an_open_archive_reconnects(any_database, model_file, scenes):
    archive = Archive.create("a", model_file, dsn=any_database)
    archive.ingest([str(sorted(scenes.glob("*.tif"))[0])])
    hits = archive.similar_to(1)
    killed = archive.connection.info.backend_pid
    with psycopg.connect(any_database, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 10000)", [killed])
    assert archive.similar_to(1) == hits
    assert archive.connection.info.backend_pid != killed
    archive.connection.close()
    with pytest.raises(psycopg.OperationalError):  # closed on purpose
        archive.connection.execute("SELECT 1")


def test_what_ends_a_statement_or_a_session_is_named_with_what_to_do(core, database):
    core.execute("SET statement_timeout = 10")
    with pytest.raises(ServerError, match="statement timeout") as slow, sql_errors():
        core.execute("SELECT pg_sleep(5)")
    assert "SET statement_timeout = 0" in slow.value.hint
    core.execute("SET statement_timeout = 0")
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 10000)", [core.info.backend_pid])
    with pytest.raises(ServerError) as lost, sql_errors():
        core.execute("SELECT 1")
    assert "rerun the command" in lost.value.hint


@pytest.fixture
def core(database):
    with connect(database) as opened:
        yield opened

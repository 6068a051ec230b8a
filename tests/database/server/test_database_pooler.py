"""Behind PgBouncer in each pool mode: no command depends on the state of a session."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import psycopg
import pytest
import searching as search
from pooler import MODES, pgbouncer
from synthetic import Scene, add, new_archive, rows

from dcsh_pg.archive import Archive
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.approximate_index import (
    BuildOptions,
    create_approximate_index,
    drop_approximate_index,
)
from dcsh_pg.database.archives.chip_batches import batches
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search import near_duplicates
from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import ServerError
from dcsh_pg.evaluation.index_recall import measure_index

CLIENTS = 6
CODES = np.random.default_rng(0).integers(0, 256, (60, 8), dtype=np.uint8)


def load(conn, name, scenes):
    """Scene by scene, 10 chips each."""
    loader = Loader(conn, registry.get_archive(conn, name))
    for n in scenes:
        add(loader, Scene(f"{n}.tif"), CODES[10 * n : 10 * n + 10])
        loader.flush()
    loader.finish()


@pytest.fixture
def pools(database, server_folder, tmp_path):
    """Mode of the pool -> DSN, of a database with the archive 'places'.

    Its time zone is another than that which clients ask for.
    """
    with connect(database) as conn:
        conn.execute(f"ALTER DATABASE \"{conn.info.dbname}\" SET TimeZone = 'Asia/Tokyo'")
        new_archive(conn, "places")
        load(conn, "places", range(3))
    with pgbouncer(database, server_folder / tmp_path.name) as made:
        yield made


def ask(conn):
    """Often enough that a driver would prepare the statements."""
    for n in range(1, 9):
        hits = search.similar_to(conn, "places", n, k=7)
    assert conn.execute("SHOW TimeZone").fetchone() == ("UTC",)
    return (
        [(hit.id, hit.distance) for hit in hits],
        near_duplicates.near_duplicates(conn, "places", 12),
        registry.list_archives(conn),
    )


@pytest.mark.parametrize("mode", MODES)
def test_clients_that_share_connections_get_the_same_answers_as_one_client(pools, database, mode):
    with connect(database) as conn:
        alone = ask(conn)
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        # In session mode a client keeps its connection.
        conns = [
            stack.enter_context(connect(pools[mode]))
            for _ in range(2 if mode == "session" else CLIENTS)
        ]
        assert list(threads.map(ask, conns)) == [alone] * len(conns)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_concurrent_loads_and_an_upgrade(pools, database, mode):
    clients = 2 if mode == "session" else CLIENTS
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        conns = [stack.enter_context(connect(pools[mode])) for _ in range(clients)]
        list(threads.map(lambda conn: load(conn, "places", range(6)), conns))
        left = conns[0].execute("SELECT relname FROM pg_class WHERE relname ~ '^dcsh_batch'")
        assert left.fetchall() == [], "another client's next load would find them"
        assert sum(len(found) for _, found in batches(conns[0], "places", 7)) == 60
    migrate.upgrade(pools[mode])
    with connect(database) as conn:
        stored = rows(conn, "places")
    assert [row[0] for row in stored] == list(range(1, 61))
    assert len({row[1] for row in stored}) == 6


def test_commands_that_statement_mode_cannot_run_fail_with_one_line(pools, database):
    def export(conn):
        list(batches(conn, "places", 7))

    for needs_transactions in (lambda conn: load(conn, "places", range(6)), export):
        with connect(pools["statement"]) as conn:
            with pytest.raises(ServerError, match="PgBouncer pools statements") as error:
                needs_transactions(conn)
            assert "transaction or session mode" in error.value.hint
    with pytest.raises(ServerError, match="PgBouncer pools statements"):
        migrate.upgrade(pools["statement"])
    with connect(database) as conn:
        assert registry.get_archive(conn, "places").scenes == 3
    with connect(pools["statement"]) as conn:
        assert registry.remove_scene(conn, "places", "1.tif") == 10
        registry.drop_archive(conn, "places")


def test_options_that_pgbouncer_refuses_fail_with_one_line(pools):
    with pytest.raises(ServerError, match="unsupported startup parameter") as error:
        connect(f"{pools['session']} options='-c statement_timeout=0'")
    assert "ignore_startup_parameters" in error.value.hint


def test_an_archive_is_created_loaded_and_searched_in_transaction_mode(
    pools, database, model_file, scenes, tmp_path
):
    opened = Archive.create("photos", model_file, dsn=pools["transaction"])
    assert not opened.ingest([str(scenes)]).failed
    hits = opened.similar_to(1)
    assert opened.to_stac(tmp_path / "stac").exists()
    with psycopg.connect(pools["transaction"]), psycopg.connect(pools["transaction"]):
        same = Archive.open("photos", dsn=pools["transaction"]).similar_to(1)
    assert hits and same == hits == Archive.open("photos", dsn=database).similar_to(1)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_an_approximate_index_is_built_and_measured(pools, mode):
    with connect(pools[mode]) as conn:
        conn.execute("DROP EXTENSION IF EXISTS dcsh_hamming CASCADE")
        index = create_approximate_index(conn, "places", "ivfflat", BuildOptions(lists=5))
        assert measure_index(conn, "places", queries=5).index == index
        assert conn.execute("SHOW maintenance_work_mem").fetchone() == ("64MB",)
        assert drop_approximate_index(conn, "places") == [index]

"""Objects that other users planted are never called, whatever the role and its search path."""

from __future__ import annotations

import contextlib
import uuid
from datetime import datetime, timezone

import numpy as np
import planted
import psycopg
import pytest
import searching as search
import shapely
from psycopg.conninfo import make_conninfo
from synthetic import Scene, add, new_archive

from dcsh_pg.database.archives import registry, source_table
from dcsh_pg.database.archives.approximate_index import (
    create_approximate_index,
    drop_approximate_index,
)
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.archives.plan import search_plan
from dcsh_pg.database.search import change, chips, near_duplicates, statistics
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import hits
from dcsh_pg.database.search.query import CodeQuery
from dcsh_pg.database.server import migrate, schema
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import ServerError
from dcsh_pg.evaluation import index_recall, recall

AREA = shapely.box(0, 0, 2, 1.5)
SINCE, MIDDLE, UNTIL = (datetime(year, 1, 1, tzinfo=timezone.utc) for year in (2019, 2020, 2022))


@contextlib.contextmanager
def open_to_all(make_database, admin, path):
    """The DSN of a database with the extensions in a schema where everyone may create objects, with
    everything planted there and in one that comes first on the path of connections."""
    role = f"planter_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {role}")
    try:
        with make_database(admin) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
            migrate.upgrade(dsn)
            conn.execute(f"GRANT USAGE ON SCHEMA dcsh, dcsh_private TO {role}")
            conn.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
            conn.execute(f"CREATE SCHEMA evil AUTHORIZATION {role}")
            conn.execute(f"SET ROLE {role}")
            conn.execute("GRANT USAGE ON SCHEMA evil TO PUBLIC")
            conn.execute("CREATE SEQUENCE evil.called; GRANT ALL ON evil.called TO PUBLIC")
            for schema in ("public", "evil"):
                assert planted.plant(conn, schema) > 1000
            yield make_conninfo(dsn, options=f"-c search_path={path}")
    finally:
        with psycopg.connect(admin, autocommit=True) as conn:
            conn.execute(f"DROP ROLE {role}")


def use_everything(dsn, called):
    migrate.upgrade(dsn)
    with connect(dsn) as conn:
        conn.add_notice_handler(lambda notice: called.append(notice.message_primary))
        schema.require_current(conn)
        layer = schema.status(conn).layer
        loader = Loader(conn, new_archive(conn, "places"))
        codes = np.random.default_rng(0).integers(0, 256, (60, 8), dtype=np.uint8)
        for n, year in enumerate((2019, 2021)):
            boxes = [shapely.box(i % 10, i // 10, i % 10 + 1, i // 10 + 1) for i in range(30)]
            scene = Scene(
                f"{year}", acquired=datetime(year, 6, 1), properties={"label": "a", "n": n}
            )
            add(loader, scene, codes[30 * n :][:30], boxes)
            loader.flush()
        loader.record_error("bad", "message", None)
        loader.known()
        loader.finish()
        record = registry.get_archive(conn, "places")
        search_plan(conn, record)
        code = codes[3].tobytes()
        for area in (None, AREA):
            few = {"area": area, "since": SINCE, "until": UNTIL}
            assert search.similar(conn, "places", code, k=5, max_distance=60, **few)
            assert search.similar_to(conn, "places", 4, **few)
            assert search.within(conn, "places", code, 60, **few)
            for rule in ("min", "mean", "rocchio"):
                search.similar_to_examples(conn, "places", [1, 2], [3], rule=rule, **few)
            near_duplicates.near_duplicates(conn, "places", 20, Filter(**few))
            statistics.coverage(conn, "places", Filter(**few), every="year")
        search.similar_region(conn, "places", AREA)
        chips.code_of(conn, "places", chips.chip_at(conn, "places", 0.5, 0.5))
        chips.chip(conn, "places", 1)
        chips.labelled_codes(conn, "places", "label")
        change.find_changes(conn, "places", (SINCE, MIDDLE), (MIDDLE, UNTIL))
        statistics.code_statistics(conn, "places")
        statistics.bit_statistics(conn, "places")
        statistics.frequent_codes(conn, "places")
        chips.chips(conn, "places")
        registry.extent(conn, "places")
        registry.list_archives(conn)
        registry.ingest_errors(conn, "places")
        recall.measure_recall(conn, "places", "hnsw", k=3, queries=5)
        conn.execute("SELECT dcsh_private.scene_summaries('places')")
        if layer == "postgis":
            for query in ({}, {"chip": 3}, {"code": code, "area": AREA, "k": 5}):
                # A row fits ST_AsMVT(anyelement, ...) no better than one planted for records.
                with contextlib.suppress(ServerError):
                    assert search.tile(conn, "places", 0, 0, 0, **query)
        conn.execute("CREATE TABLE dcsh.listed AS SELECT 'a' AS location, geom FROM dcsh.places")
        list(source_table.source_rows(conn, "dcsh.listed", geometry="geom"))
        registry.remove_scene(conn, "places", "2019")
        registry.drop_code_index(conn, "places")
        conn.execute("DROP EXTENSION IF EXISTS dcsh_hamming")
        create_approximate_index(conn, "places", "ivfflat")
        search_plan(conn, registry.get_archive(conn, "places"))
        index_recall.measure_index(conn, "places", k=3, queries=5)
        assert hits(conn, "places", CodeQuery(code, exact=False), Filter(since=SINCE), k=5)
        drop_approximate_index(conn, "places")
        registry.drop_archive(conn, "places")


@pytest.mark.parametrize("path", ["public", "evil,public,pg_catalog"])
@pytest.mark.parametrize("server", ["embedded_admin", "postgis_admin"])
def test_a_superuser_calls_no_planted_object(server, path, request, make_database):
    called = []
    with open_to_all(make_database, request.getfixturevalue(server), path) as dsn:
        use_everything(dsn, called)
        assert not [message for message in called if planted.MARK in message]
        with psycopg.connect(dsn) as conn:
            assert conn.execute("SELECT is_called FROM evil.called").fetchone() == (False,)

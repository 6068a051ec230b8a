"""A Citus cluster for the tests, where every new archive is distributed as soon as it is made.

``DCSH_TEST_CITUS_DSN`` names the coordinator (``.ci/citus`` starts a cluster and prints it); without
it these tests skip.  One database serves all tests of a process, because making one on every node
takes seconds; what a test leaves is removed after it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dcsh_pg.database.archives import registry
from dcsh_pg.database.server import migrate

VARIABLE = "DCSH_TEST_CITUS_DSN"
DISTRIBUTED_AT_ONCE = """
ALTER FUNCTION dcsh_private.create_chips RENAME TO create_local_chips;
CREATE FUNCTION dcsh_private.create_chips(archive text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM dcsh_private.create_local_chips(archive);
    PERFORM dcsh.distribute_archive(archive);
END
$$;
"""
NO_LONGER = """
DROP FUNCTION dcsh_private.create_chips;
ALTER FUNCTION dcsh_private.create_local_chips RENAME TO create_chips;
"""


def worker_dsns(coordinator: str) -> list[str]:
    """The same database on every worker."""
    with psycopg.connect(coordinator, autocommit=True) as conn:
        workers = conn.execute(
            "SELECT node_name, node_port FROM citus_get_active_worker_nodes() ORDER BY 1, 2"
        ).fetchall()
    return [make_conninfo(coordinator, host=host, port=port) for host, port in workers]


@contextmanager
def cluster_database(coordinator: str) -> Iterator[str]:
    """A database of its own on all nodes of a cluster for the time of the block; gives its DSN."""
    name = f"dcsh_test_{uuid.uuid4().hex[:12]}"
    nodes = [coordinator, *worker_dsns(coordinator)]
    try:
        for node in nodes:
            with psycopg.connect(node, autocommit=True) as conn:
                conn.execute("SET citus.enable_create_database_propagation = off")
                conn.execute(f"CREATE DATABASE {name}")
            with psycopg.connect(make_conninfo(node, dbname=name), autocommit=True) as conn:
                conn.execute("CREATE EXTENSION citus")
        database = make_conninfo(coordinator, dbname=name)
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute(
                "SELECT citus_set_coordinator_host(%s, %s)", [conn.info.host, conn.info.port]
            )
            for worker in map(conninfo_to_dict, nodes[1:]):
                conn.execute("SELECT citus_add_node(%s, %s)", [worker["host"], worker["port"]])
        yield database
    finally:
        for node in reversed(nodes):
            with psycopg.connect(node, autocommit=True) as conn:
                conn.execute("SET citus.enable_create_database_propagation = off")
                conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def citus_cluster() -> Iterator[str]:
    if not os.environ.get(VARIABLE):
        pytest.skip(f"no Citus: export {VARIABLE}=$(.ci/citus) starts a cluster (as root)")
    with cluster_database(os.environ[VARIABLE]) as database:
        migrate.upgrade(database)
        yield database


@pytest.fixture
def citus_database(citus_cluster) -> Iterator[str]:
    """On a Citus cluster, with the schema; archives are distributed when they are made."""
    with psycopg.connect(citus_cluster, autocommit=True) as conn:
        conn.execute(DISTRIBUTED_AT_ONCE)
    yield citus_cluster
    with psycopg.connect(citus_cluster, autocommit=True) as conn:
        conn.execute("SET client_min_messages = warning")
        for archive in registry.list_archives(conn):
            conn.execute(f'DROP TABLE IF EXISTS dcsh."{archive.name}" CASCADE')
        conn.execute(
            "TRUNCATE dcsh.model, dcsh.archive, dcsh.scene, dcsh.ingest_error RESTART IDENTITY"
        )
        conn.execute(NO_LONGER)

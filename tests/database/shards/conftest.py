"""Databases on three servers."""

from contextlib import ExitStack

import pytest
from psycopg.conninfo import conninfo_to_dict
from shard_servers import installed

from dcsh_pg.database import connection, migrate


@pytest.fixture(scope="module")
def templates(three_servers, make_database):
    """Makes for a spatial layer, once, a database with the schema on each server."""
    made = {}
    with ExitStack() as databases:

        def of(layer: str) -> list[str]:
            if layer not in made:
                dsns = [databases.enter_context(make_database(admin)) for admin in three_servers]
                for dsn in dsns:
                    migrate.upgrade(dsn, spatial=layer)
                made[layer] = [conninfo_to_dict(dsn)["dbname"] for dsn in dsns]
            return made[layer]

        yield of


@pytest.fixture
def layer(request, three_servers) -> str:
    """The spatial layer: that which the test asks for, or the one that users have."""
    asked = getattr(request, "param", None)
    postgis = installed("postgis") == installed("postgres_fdw")
    if asked == "postgis" and not postgis:
        pytest.skip("the servers have no PostGIS: .ci/postgis installs it")
    return asked or ("postgis" if postgis else "core")


@pytest.fixture
def databases(three_servers, templates, layer, make_database):
    """The archives' own database and three for shards, one of them on the same server."""
    with ExitStack() as made:
        pairs = [*zip(three_servers, templates(layer), strict=True)]
        yield [made.enter_context(make_database(*pair)) for pair in [pairs[0], *pairs]]


@pytest.fixture
def conn(databases):
    with connection.connect(databases[0]) as opened:
        yield opened


@pytest.fixture
def places(databases):
    """DSNs of the databases for shards."""
    return databases[1:]

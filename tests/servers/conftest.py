"""tipg, reported of an archive ``places``; it reads its settings once."""

import pytest


@pytest.fixture(scope="session")
def tipg():
    """tipg as it is started for a database, which it reads from its environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIPG_DB_SCHEMAS", '["dcsh"]')
        patch.setenv("TIPG_DB_TABLES", '["dcsh.places_layer"]')
        patch.setenv("TIPG_DB_FUNCTIONS", '["dcsh.search_layer"]')
        yield pytest.importorskip("tipg.main").app

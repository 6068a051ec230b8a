"""What psql shows for common mistakes: an error with a hint, and few lines of context."""

import numpy as np
import psycopg
import pytest
from synthetic import Scene, add, new_archive

from dcsh_pg.database.archives.load import Loader

FAR = "ST_MakeEnvelope(500000, 0, 600000, 10, 4326)"


@pytest.fixture
def places(postgis_database):
    with psycopg.connect(postgis_database, autocommit=True) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        add(loader, Scene("a.tif"), np.zeros((3, 8), np.uint8))
        loader.flush()
        yield conn


@pytest.mark.parametrize(
    ("mistake", "message", "most"),
    [
        ("similar('nowhere', B'0101')", 'archive "nowhere" does not exist', 3),
        ("similar('places', B'0101')", "code has 4 bits", 3),
        ("similar_to('places', 99)", 'archive "places" has no chip 99', 2),
        ("similar_to('places', 1, k => 0)", "k must be positive", 2),
        (f"similar_to('places', 1, area => {FAR})", "coordinates out of range", 5),
        ("search_layer('nowhere', 1)", 'archive "nowhere" does not exist', 3),
        ("search_layer('places', 1, area => 'POINT(')", "area must be WKT or GeoJSON", 2),
        (f"similar_region('places', {FAR})", "coordinates out of range", 4),
    ],
)
def test_a_common_mistake_gets_a_hint_and_few_lines_of_context(places, mistake, message, most):
    with pytest.raises(psycopg.Error, match=message) as error:
        places.execute(f"SELECT * FROM dcsh.{mistake}")
    assert error.value.diag.message_hint
    assert len(error.value.diag.context.splitlines()) <= most, error.value.diag.context

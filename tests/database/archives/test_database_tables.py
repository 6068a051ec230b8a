"""An archive through SQLAlchemy."""

import numpy as np
import pytest
import shapely
from pgvector import Bit
from sqlalchemy import inspect, select
from synthetic import Scene, add, new_archive

from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.archives.tables import archive_table
from dcsh_pg.database.server import connection


@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_queries_of_ones_own(conn):
    loader = Loader(conn, new_archive(conn, "places"))
    codes = np.array([[0] * 8, [255] * 8, [0] * 7 + [1]], np.uint8)
    add(loader, Scene("a"), codes, [shapely.box(n, 0, n + 1, 1) for n in range(3)])
    loader.flush()
    chips = archive_table(conn, "places")
    engine = connection.engine(conn)
    distance = chips.c.code.hamming_distance(Bit(bytes(8)).to_text())
    with engine.connect() as sa:
        found = sa.execute(select(chips.c.id, distance).order_by(distance, chips.c.id)).all()
        geom = sa.execute(select(chips.c.geom).where(chips.c.id == 1)).scalar()
    assert found == [(1, 0.0), (3, 1.0), (2, 64.0)]
    assert geom is not None
    assert [column["name"] for column in inspect(engine).get_columns("places", "dcsh")] == [
        column.name for column in chips.columns
    ]

"""The recall of an archive's own approximate index, against brute force."""

import numpy as np
import pytest
from pgvector import Bit
from synthetic import Scene, add, new_archive

from dcsh_pg import codes as packed
from dcsh_pg.database.archives.approximation import approximation
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import UsageError
from dcsh_pg.evaluation.index_recall import measure_index

CODES = np.random.default_rng(0).integers(0, 256, (3000, 8), dtype=np.uint8)


@pytest.fixture
def conn(database):
    with connect(database) as opened:
        opened.execute("DROP EXTENSION IF EXISTS dcsh_hamming CASCADE")
        loader = Loader(opened, new_archive(opened, "places"))
        add(loader, Scene("a"), CODES)
        loader.flush()
        opened.execute("ANALYZE dcsh.places")
        yield opened


def test_the_least_effort_that_reaches_the_target_is_stored_and_used(conn):
    conn.execute(
        "CREATE INDEX ON dcsh.places USING ivfflat (code bit_hamming_ops) WITH (lists = 30)"
    )
    measured = measure_index(conn, "places", target=0.8, queries=40)
    recalls = [point.recall for point in measured.points]
    assert recalls == sorted(recalls) and max([0, *recalls[:-1]]) < 0.8 <= recalls[-1]
    assert measured.chosen == measured.points[-1] and measured.scan.recall == 1
    known = approximation(conn, "places")
    assert (known.setting, known.k, known.queries) == (measured.chosen.setting, 10, 40)
    assert known.recall == pytest.approx(measured.chosen.recall, abs=1e-4) and known.rows == 3000

    all_lists = measure_index(conn, "places", efforts=[30], queries=20, k=7)
    assert all_lists.chosen.recall == 1 and approximation(conn, "places").setting == 30
    exact = np.sort(packed.hamming(CODES, CODES[:1])[:, 0])[:7]
    found = conn.execute(
        "SELECT distance FROM dcsh.similar('places', %s, 7, exact => false)",
        [Bit(CODES[0].tobytes())],
    )
    assert [distance for (distance,) in found] == exact.tolist()


def test_it_counts_what_the_index_misses(conn):
    conn.execute(
        "CREATE INDEX ON dcsh.places USING ivfflat (code bit_hamming_ops) WITH (lists = 30)"
    )
    conn.execute("SET enable_seqscan = off")
    measured = measure_index(conn, "places", efforts=[3], queries=3000)
    shares = []
    for code in CODES:
        reach = np.sort(packed.hamming(CODES, code)[:, 0])[9]
        with conn.transaction():
            conn.execute("SET LOCAL ivfflat.probes = 3")
            near = conn.execute(
                "SELECT code <~> %(q)s FROM dcsh.places ORDER BY code <~> %(q)s LIMIT 10",
                {"q": Bit(code.tobytes())},
            ).fetchall()
        shares.append(sum(distance <= reach for (distance,) in near) / 10)
    assert measured.chosen.recall == pytest.approx(np.mean(shares), abs=1e-9)
    assert measured.queries == 3000


def test_arguments_out_of_range(conn):
    with pytest.raises(UsageError, match="use no approximate index"):
        measure_index(conn, "places")
    conn.execute(
        "CREATE INDEX ON dcsh.places USING ivfflat (code bit_hamming_ops) WITH (lists = 30)"
    )
    for arguments in ({"k": 0}, {"queries": 0}, {"target": 1.1}, {"efforts": [31]}):
        with pytest.raises(UsageError):
            measure_index(conn, "places", **arguments)

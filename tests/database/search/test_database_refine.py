"""Ties by tanh(z) . b: against brute force, on every kind of server, with and without an index on codes."""

from datetime import datetime, timedelta, timezone

import numpy as np
import psycopg
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from synthetic import Scene, add, new_archive

from dcsh_pg import codes as packed
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import hits
from dcsh_pg.database.search.query import ChipQuery, CodeQuery
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import UsageError

EXAMPLES = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
DAY = datetime(2021, 6, 1, tzinfo=timezone.utc)


def filled(conn, codes):
    """Archive places: three scenes a day apart, side by side."""
    if any(archive.name == "places" for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, "places")
    loader = Loader(conn, new_archive(conn, "places", 8 * codes.shape[1]))
    for n, part in enumerate(np.array_split(np.arange(len(codes)), 3)):
        scene = Scene(f"places/{n}", acquired=DAY + timedelta(days=n))
        add(loader, scene, codes[part], [shapely.box(n, 0, n + 0.5, 1)] * len(part))
    loader.flush()


def scene_of(codes):
    return np.repeat(range(3), [len(part) for part in np.array_split(np.arange(len(codes)), 3)])


def brute_force(codes, query, z, keep):
    """(distance, id) by (distance, -tanh(z) . b, id), of the rows to keep."""
    distances = packed.hamming(codes, query[None])[:, 0]
    signs = 2.0 * np.unpackbits(codes, axis=1) - 1
    # Sums of equal numbers in another order differ in their last digits.
    scores = (signs * np.tanh(z.astype(np.float64))).sum(axis=1).round(9)
    order = np.lexsort((np.arange(len(codes)), -scores, distances))
    return [(int(distances[n]), int(n) + 1) for n in order if keep[n]]


def found(conn, query, z, k, filter=Filter()):
    asked = CodeQuery(query.tobytes(), z=z, refine=True)
    return [(hit.distance, hit.id) for hit in hits(conn, "places", asked, filter, k)]


def check(conn, codes, z, k, radius):
    query = codes[0]
    every = np.ones(len(codes), bool)
    scene = scene_of(codes)
    area = shapely.box(-1, 0, 0.6, 1)
    for filter, keep in (
        (Filter(), every),
        (Filter(area=area), scene == 0),
        (Filter(since=DAY + timedelta(days=1)), scene > 0),
        (Filter(scenes=[1, 3]), scene != 1),
    ):
        expected = brute_force(codes, query, z, keep)
        assert found(conn, query, z, k, filter) == expected[:k]
    expected = brute_force(codes, query, z, every)
    near = [hit for hit in expected if hit[0] <= radius]
    within = Filter(max_distance=radius)
    assert found(conn, query, z, k, within) == near[:k]
    assert found(conn, query, z, None, within) == near
    chip = hits(conn, "places", ChipQuery(1, z=z, refine=True), k=k)
    assert [(hit.distance, hit.id) for hit in chip] == [hit for hit in expected if hit[1] != 1][:k]


tied = arrays(np.uint8, st.tuples(st.integers(3, 60), st.just(2)), elements=st.integers(0, 7))
reals = arrays(np.float32, 16, elements=st.floats(-4, 4, width=32).map(lambda x: round(x, 3)))


@EXAMPLES
@given(codes=tied, z=reals, k=st.integers(1, 70), radius=st.integers(0, 16), forced=st.booleans())
def test_equals_brute_force(conn, codes, z, k, radius, forced):
    filled(conn, codes)
    check(conn, codes, z, k, radius)
    if conn.execute("SELECT dcsh_private.has_hamming()").fetchone()[0]:
        conn.execute("SELECT dcsh.create_code_index('places')")
        conn.execute(f"SET enable_seqscan = {'off' if forced else 'on'}")
        check(conn, codes, z, k, radius)


@pytest.mark.parametrize("indexed", [False, True])
def test_ties_beyond_k_take_part(hamming, indexed):
    """3000 chips of few codes: the ties of the last distance are many times k."""
    random = np.random.default_rng(5)
    codes = random.integers(0, 16, (3000, 2), dtype=np.uint8)
    z = random.standard_normal(16).astype(np.float32)
    with connect(hamming) as conn:
        filled(conn, codes)
        if indexed:
            conn.execute("SELECT dcsh.create_code_index('places')")
        expected = brute_force(codes, codes[0], z, np.ones(3000, bool))
        assert found(conn, codes[0], z, 40) == expected[:40]
        by_id = [
            (hit.distance, hit.id)
            for hit in hits(conn, "places", CodeQuery(codes[0].tobytes()), k=40)
        ]
    assert by_id != expected[:40]
    assert [distance for distance, _ in by_id] == [distance for distance, _ in expected[:40]]


def test_hits_of_an_approximate_index_are_ordered_too(core):
    random = np.random.default_rng(6)
    codes = random.integers(0, 16, (500, 2), dtype=np.uint8)
    z = random.standard_normal(16).astype(np.float32)
    core.execute("DROP EXTENSION IF EXISTS dcsh_hamming CASCADE")
    filled(core, codes)
    core.execute(
        "CREATE INDEX ON dcsh.places USING ivfflat (code bit_hamming_ops) WITH (lists = 1)"
    )
    core.execute("SET enable_seqscan = off")
    asked = CodeQuery(codes[0].tobytes(), z=z, refine=True, exact=False)
    answer = hits(core, "places", asked, k=60)
    assert all(hit.approximate for hit in answer)
    expected = brute_force(codes, codes[0], z, np.ones(500, bool))
    assert [(hit.distance, hit.id) for hit in answer] == expected[:60]


def test_what_is_no_z_is_refused(conn):
    filled(conn, np.zeros((3, 2), np.uint8))
    for values, words in (
        ([0.5] * 15, "refine must have 16 numbers, not 15"),
        ([[0.5] * 16], "refine must have 16 numbers, not 16"),
        ([0.5] * 15 + [float("nan")], "a number of refine is NULL, NaN or infinite"),
        ([0.5] * 15 + [None], "a number of refine is NULL, NaN or infinite"),
    ):
        with pytest.raises(psycopg.Error, match=words):
            conn.execute(
                "SELECT * FROM dcsh.similar('places', %s::bit(16), refine => %s::real[])",
                ["0" * 16, values],
            )
    with pytest.raises(UsageError, match="real values of code are not known"):
        hits(conn, "places", CodeQuery(bytes(2), refine=True, caption="code"))

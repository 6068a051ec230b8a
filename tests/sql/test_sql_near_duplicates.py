"""dcsh.near_duplicates against brute force."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import combinations

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
from dcsh_pg.database.search.near_duplicates import near_duplicates
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound, UsageError

EXAMPLES = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
DAY = datetime(2021, 6, 1, tzinfo=timezone.utc)


@pytest.fixture
def conn(any_deployment):
    with connect(any_deployment) as opened:
        yield opened


@pytest.fixture
def core(database):
    """Without the native extension, so that the pairs come from the masks."""
    with connect(database) as opened:
        opened.execute("DROP EXTENSION IF EXISTS dcsh_hamming")
        yield opened


def filled(conn, codes, footprints=None):
    if any(archive.name == "places" for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, "places")
    loader = Loader(conn, new_archive(conn, "places", 8 * codes.shape[1]))
    add(loader, Scene("places.tif"), codes, footprints)
    loader.flush()


def brute_force(codes, radius, keep=None):
    """(group_id, id, distance) by comparing every pair, group after group from its first chip on."""
    left = set(range(len(codes)) if keep is None else np.flatnonzero(keep).tolist())
    rows = []
    while left:
        first = min(left)
        group, reached = [], {first}
        while reached:
            left -= reached
            group += reached
            others = np.fromiter(left, int)
            near = (packed.hamming(codes[others], codes[[*reached]]) <= radius).any(axis=1)
            reached = set(others[near].tolist())
        if len(group) > 1:
            distances = packed.hamming(codes, codes[first])[:, 0]
            rows += [(first + 1, n + 1, int(distances[n])) for n in sorted(group)]
    return rows


def found(rows):
    return [(row.group_id, row.chip.id, row.chip.distance) for row in rows]


@EXAMPLES
@given(
    codes=arrays(np.uint8, st.tuples(st.integers(1, 40), st.just(2)), elements=st.integers(0, 255)),
    radius=st.integers(0, 15),
    mask=arrays(np.uint8, (2,)),
)
def test_equals_brute_force_and_keeps_under_an_xor_mask(conn, codes, radius, mask):
    filled(conn, codes)
    expected = brute_force(codes, radius)
    assert found(near_duplicates(conn, "places", radius)) == expected
    filled(conn, codes ^ mask)
    assert found(near_duplicates(conn, "places", radius)) == expected


def random_codes(rng):
    return rng.integers(0, 256, (10_000, 8), dtype=np.uint8)


def clustered_codes(rng):
    bits = rng.integers(0, 2, (200, 64)).repeat(50, axis=0) ^ (rng.random((10_000, 64)) < 0.06)
    return np.packbits(bits, axis=1)


def dense_codes(rng):
    """So many pairs within the radius that half of it is connected first; few bits vary at all."""
    return np.packbits(rng.random((10_000, 64)) < np.where(np.arange(64) < 50, 0.03, 0.5), axis=1)


def equal_codes(rng):
    return np.full((10_000, 8), 0x5A, np.uint8)


@pytest.mark.parametrize(
    ("make", "radius"),
    [
        (random_codes, 4),
        (clustered_codes, 2),
        (clustered_codes, 4),
        (dense_codes, 6),
        (equal_codes, 2),
    ],
)
def test_ten_thousand_codes_equal_brute_force(core, make, radius):
    codes = make(np.random.default_rng(0))
    filled(core, codes)
    different, first, which = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    by_first = np.argsort(first)
    place = np.empty_like(by_first)
    place[by_first] = np.arange(len(by_first))
    group = np.arange(len(different))
    for group_id, member, _ in brute_force(different[by_first], radius):
        group[member - 1] = group_id - 1
    group_of = group[place[which.ravel()]]
    big = np.bincount(group_of)[group_of] > 1
    group_id = np.sort(first)[group_of] + 1
    distance = (np.unpackbits(codes, axis=1) ^ np.unpackbits(codes[group_id - 1], axis=1)).sum(1)
    ids = np.arange(len(codes)) + 1
    order = np.lexsort((ids, group_id))
    expected = np.stack([group_id, ids, distance], axis=1)[order][big[order]]
    assert found(near_duplicates(core, "places", radius)) == [tuple(r) for r in expected.tolist()]


def test_dense_codes_are_connected_within_half_the_radius_first(core):
    codes = dense_codes(np.random.default_rng(0))[:1000]
    for sample, dense in ((codes, True), (random_codes(np.random.default_rng(0))[:1000], False)):
        found = core.execute(
            "SELECT dense FROM dcsh_private.pair_masks(%s::bit varying[], 10000, 6)",
            [[packed.to_text(code) for code in sample]],
        ).fetchone()
        assert found == (dense,)


@EXAMPLES
@given(
    bits=st.permutations(range(16)),
    radius=st.integers(1, 6),
    agreeing=st.integers(1, 3),
)
def test_two_codes_within_the_radius_are_alike_under_a_mask(core, bits, radius, agreeing):
    masks = core.execute(
        "SELECT m::text FROM dcsh_private.masks(%s::integer[], %s, %s) m", [bits, radius, agreeing]
    ).fetchall()
    held = [{n for n, bit in enumerate(mask) if bit == "1"} for (mask,) in masks]
    assert all(len(mask) == len(bits) for (mask,) in masks)
    for differing in combinations(range(16), radius):
        assert any(mask.isdisjoint(differing) for mask in held), differing


def test_conditions_choose_the_chips_before_they_are_grouped(conn):
    rng = np.random.default_rng(0)
    loader = Loader(conn, new_archive(conn, "places"))
    codes = rng.integers(0, 2, (60, 8), dtype=np.uint8)
    lon = rng.integers(0, 4, 60)
    days = np.arange(60) // 20
    for day in range(3):
        part = days == day
        boxes = shapely.box(lon[part], 0, lon[part] + 0.5, 1)
        add(loader, Scene(f"{day}", acquired=DAY + timedelta(days=day)), codes[part], boxes)
    loader.flush()

    def grouped(**filters):
        return found(near_duplicates(conn, "places", 1, Filter(**filters)))

    west = shapely.box(-1, 0, 1.2, 1)
    assert grouped(area=west) == brute_force(codes, 1, lon <= 1)
    since, until = DAY + timedelta(days=1), DAY + timedelta(days=2)
    assert grouped(since=since) == brute_force(codes, 1, days >= 1)
    assert grouped(area=west, since=since, until=until) == brute_force(
        codes, 1, (lon <= 1) & (days == 1)
    )
    assert grouped(since=DAY + timedelta(days=9)) == []


def test_a_row_has_the_columns_of_its_chip(conn):
    codes = np.array([[0] * 8, [255] * 8, [0] * 7 + [1]], np.uint8)
    filled(conn, codes, shapely.box([0, 1, 2], 0, [1, 2, 3], 1))
    first, second = near_duplicates(conn, "places", 1)
    assert (first.group_id, first.chip.id) == (1, 1)
    second = second.chip
    assert (second.id, second.distance) == (3, 1)
    assert second.uri == "places.tif" and second.window == (128, 0, 64, 64)
    assert shapely.geometry.shape(second.footprint).bounds == (2, 0, 3, 1)


def test_it_only_reads(conn):
    filled(conn, np.random.default_rng(0).integers(0, 2, (300, 8), dtype=np.uint8))
    rows = near_duplicates(conn, "places", 1)
    assert rows
    conn.execute("SET default_transaction_read_only = on")
    assert near_duplicates(conn, "places", 1) == rows
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        conn.execute("CREATE TABLE anything (id bigint)")


def test_other_plans_give_the_same_rows(core):
    filled(core, clustered_codes(np.random.default_rng(1)))
    rows = near_duplicates(core, "places", 3)
    for plan in (
        {"enable_mergejoin": "off", "work_mem": "64kB"},
        {"enable_hashjoin": "off", "enable_hashagg": "off"},
        {"parallel_setup_cost": 0, "parallel_tuple_cost": 0, "min_parallel_table_scan_size": 0},
    ):
        for name, value in plan.items():
            core.execute("SELECT set_config(%s, %s, false)", [name, str(value)])
        assert near_duplicates(core, "places", 3) == rows
        core.execute("RESET ALL")


def test_what_cannot_be_asked(conn):
    filled(conn, np.zeros((0, 8), np.uint8))
    assert near_duplicates(conn, "places", 3) == []
    for radius in (-1, 64):
        with pytest.raises(UsageError, match=f"radius must be from 0 to 63, not {radius}"):
            near_duplicates(conn, "places", radius)
    with pytest.raises(NotFound, match='archive "nowhere" does not exist'):
        near_duplicates(conn, "nowhere", 1)


def test_the_extension_may_lack_the_join_or_lie_elsewhere(hamming):
    codes = clustered_codes(np.random.default_rng(2))[:2000]
    with connect(hamming) as conn:
        filled(conn, codes)
        rows = near_duplicates(conn, "places", 3)
        conn.execute("CREATE SCHEMA elsewhere")
        conn.execute("ALTER EXTENSION dcsh_hamming SET SCHEMA elsewhere")
        assert near_duplicates(conn, "places", 3) == rows
        conn.execute(
            "ALTER EXTENSION dcsh_hamming DROP FUNCTION"
            " elsewhere.hamming_connect(bit[], integer, integer)"
        )
        assert near_duplicates(conn, "places", 3) == rows

"""Statistics of an archive's codes and its coverage in space and time, against NumPy."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from synthetic import Scene, new_archive

from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search import statistics
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound, UsageError

DAY = datetime(2021, 6, 30, 12, tzinfo=timezone.utc)


@pytest.fixture
def conn(any_deployment):
    with connect(any_deployment) as opened:
        yield opened


def filled(conn, scenes):
    """Scenes of (acquired, codes, footprints, valid fractions)."""
    if any(archive.name == "places" for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, "places")
    bits = 8 * scenes[0][1].shape[1] if scenes else 64
    loader = Loader(conn, new_archive(conn, "places", bits))
    for number, (acquired, codes, footprints, valid) in enumerate(scenes):
        windows = np.tile(np.array([[0, 0, 64, 64]], np.int32), (len(codes), 1))
        windows[:, 0] = 64 * np.arange(len(codes))
        scene = Scene(f"{number}.tif", acquired=acquired)
        loader.add(scene, codes, windows, footprints, valid.astype(np.float32), 0)
    loader.flush()


def entropy(counts):
    shares = np.asarray(counts, float) / np.sum(counts)
    return -sum(p * np.log2(p) for p in shares if p > 0)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    codes=arrays(np.uint8, st.tuples(st.integers(1, 60), st.just(2)), elements=st.integers(0, 2)),
    cut=st.integers(0, 60),
    most=st.integers(1, 12),
)
def test_codes_equal_numpy(conn, codes, cut, most):
    valid = np.linspace(0.5, 1, len(codes)).round(3)
    parts = [part for part in (slice(None, cut), slice(cut, None)) if len(codes[part])]
    filled(conn, [(None, codes[part], None, valid[part]) for part in parts])
    first, second = np.triu_indices(len(codes), 1)
    apart = np.unpackbits(codes[first] ^ codes[second], axis=1).sum(axis=1)
    assert statistics.pair_distances(conn, "places") == Counter(apart.tolist())
    some = statistics.pair_distances(conn, "places", 7)
    assert sum(some.values()) == min(len(codes), 7) * (min(len(codes), 7) - 1) // 2
    assert some == statistics.pair_distances(conn, "places", 7)
    ones = np.unpackbits(codes, axis=1).sum(axis=0)
    counts = Counter(code.tobytes() for code in codes)
    entropies = [entropy([n, len(codes) - n]) for n in ones]

    summary = statistics.code_statistics(conn, "places")
    assert (summary.chips, summary.distinct_codes, summary.bits) == (len(codes), len(counts), 16)
    assert summary.most_frequent == max(counts.values())
    assert summary.code_entropy == pytest.approx(entropy(list(counts.values())), abs=1e-9)
    assert summary.bit_entropy == pytest.approx(np.mean(entropies), abs=1e-6)
    assert summary.constant_bits == sum(n in (0, len(codes)) for n in ones)

    bits = statistics.bit_statistics(conn, "places")
    assert [(bit.bit_number, bit.ones) for bit in bits] == list(enumerate(ones.tolist()))
    assert [bit.share for bit in bits] == pytest.approx(ones / len(codes))
    assert [bit.entropy for bit in bits] == pytest.approx(entropies, abs=1e-9)

    ids = defaultdict(list)
    for n, code in enumerate(codes):
        ids[code.tobytes()].append(n)
    expected = sorted(ids.items(), key=lambda item: (-len(item[1]), item[1][0]))[:most]
    frequent = statistics.frequent_codes(conn, "places", most)
    assert [(code.code, code.chips, code.first_id) for code in frequent] == [
        (code, len(chips), chips[0] + 1) for code, chips in expected
    ]
    for row, (_, chips) in zip(frequent, expected, strict=True):
        assert row.share == pytest.approx(len(chips) / len(codes))
        assert row.scenes == len({n < cut for n in chips})
        assert row.valid_fraction == pytest.approx(valid[chips].mean(), abs=1e-6)


def test_an_empty_archive(conn):
    filled(conn, [])
    assert statistics.code_statistics(conn, "places") == statistics.CodeStatistics(
        chips=0,
        distinct_codes=0,
        most_frequent=0,
        code_entropy=None,
        bits=64,
        bit_entropy=None,
        constant_bits=0,
    )
    bits = statistics.bit_statistics(conn, "places")
    assert [(bit.ones, bit.share, bit.entropy) for bit in bits] == [(0, None, None)] * 64
    assert statistics.frequent_codes(conn, "places") == []
    assert statistics.coverage(conn, "places") == []


@pytest.mark.parametrize("bits", [16, 64, 96, 1024])
def test_codes_of_any_length(conn, bits):
    codes = np.random.default_rng(0).integers(0, 256, (20, bits // 8), dtype=np.uint8)
    codes[-3:] = codes[4]
    filled(conn, [(None, codes, None, np.ones(20))])
    ones = [bit.ones for bit in statistics.bit_statistics(conn, "places")]
    assert ones == np.unpackbits(codes, axis=1).sum(axis=0).tolist()
    assert statistics.code_statistics(conn, "places").distinct_codes == 17
    (most,) = statistics.frequent_codes(conn, "places", 1)
    assert (most.code, most.chips, most.share) == (codes[4].tobytes(), 4, 0.2)


@pytest.fixture
def world(conn):
    """Three scenes of chips at random places, one of them without footprints, one without a time."""
    rng = np.random.default_rng(0)
    times = [DAY, DAY + timedelta(days=1), None, DAY + timedelta(days=370)]
    scenes = []
    for number, acquired in enumerate(times):
        corners = rng.uniform(-3, 3, (40, 2)).round(2) + 0.001
        boxes = None if number == 3 else shapely.box(*corners.T, *(corners + 0.1).T)
        valid = rng.uniform(0.5, 1, 40).round(3)
        scenes.append((acquired, np.zeros((40, 8), np.uint8), boxes, valid))
    filled(conn, scenes)
    return scenes


def month(acquired):
    return acquired and acquired.replace(day=1, hour=0)


@pytest.mark.parametrize("every", [None, "month"])
@pytest.mark.parametrize("cell", [0.5, 2])
def test_coverage_counts_every_chip_once(conn, world, cell, every):
    expected = defaultdict(list)
    for number, (acquired, _, boxes, valid) in enumerate(world):
        for n in range(40):
            if boxes is None:
                place = None
            else:
                x, y = (np.floor(c / cell) * cell for c in boxes[n].centroid.coords[0])
                place = (x, y, x + cell, y + cell)
            expected[month(acquired) if every else None, place].append((number, acquired, valid[n]))
    cells = statistics.coverage(conn, "places", cell=cell, every=every)
    assert [row.id for row in cells] == list(range(1, len(expected) + 1))
    for row in cells:
        bounds = row.footprint and shapely.geometry.shape(row.footprint).bounds
        chips = expected.pop((row.period, bounds))
        times = [acquired for _, acquired, _ in chips if acquired]
        assert row.chips == len(chips) and row.scenes == len({scene for scene, *_ in chips})
        assert row.first_acquired == min(times, default=None)
        assert row.last_acquired == max(times, default=None)
        assert row.valid_fraction == pytest.approx(np.mean([v for *_, v in chips]), abs=1e-5)
    assert not expected


def test_coverage_is_in_the_order_of_period_south_and_west(conn, world):
    def order(row):
        west, south, *_ = shapely.geometry.shape(row.footprint).bounds if row.footprint else (9, 9)
        return row.period or datetime.max.replace(tzinfo=timezone.utc), south, west

    cells = statistics.coverage(conn, "places", cell=1, every="year")
    assert cells == sorted(cells, key=order)
    assert {row.period for row in cells} == {
        datetime(2021, 1, 1, tzinfo=timezone.utc),
        datetime(2022, 1, 1, tzinfo=timezone.utc),
        None,
    }


def test_coverage_of_some_of_the_chips(conn, world):
    area = shapely.box(-1.2, -1.2, 1.3, 0.7)
    cells = statistics.coverage(
        conn, "places", Filter(area=area, since=DAY + timedelta(hours=1)), cell=1
    )
    assert sum(row.chips for row in cells) == np.sum(shapely.intersects(world[1][2], area)) > 0
    until = statistics.coverage(conn, "places", Filter(until=DAY + timedelta(days=1)), cell=1)
    assert sum(row.chips for row in until) == 40


@pytest.mark.parametrize(
    ("span", "cell"), [(50, 1), (50.1, 2), (0.26, 0.01), (0.24, 0.005), (360, 10), (1e-4, 2e-6)]
)
def test_cells_have_a_round_size(conn, span, cell):
    filled(conn, [(None, np.zeros((1, 8), np.uint8), [shapely.box(0, 0, span, span)], np.ones(1))])
    (row,) = statistics.coverage(conn, "places")
    west, south, east, north = shapely.geometry.shape(row.footprint).bounds
    assert (east - west, north - south) == pytest.approx((cell, cell))
    assert west <= span / 2 < east


def test_what_cannot_be_asked(conn, world):
    for cell in (0, -1, 361, float("nan")):
        with pytest.raises(UsageError, match="cell must be above 0"):
            statistics.coverage(conn, "places", cell=cell)
    with pytest.raises(UsageError, match='not "fortnight"'):
        statistics.coverage(conn, "places", every="fortnight")
    with pytest.raises(UsageError, match="most must be positive, not 0"):
        statistics.frequent_codes(conn, "places", 0)
    for ask in (
        statistics.coverage,
        statistics.code_statistics,
        statistics.bit_statistics,
        statistics.frequent_codes,
    ):
        with pytest.raises(NotFound, match='archive "nowhere" does not exist'):
            ask(conn, "nowhere")

"""Change between two periods, against brute force in shapely on every kind of server."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import Scene, add, new_archive

from dcsh_pg import codes as packed
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search.change import find_changes
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound, UsageError

DAY = datetime(2019, 1, 1, tzinfo=timezone.utc)
BEFORE = (DAY, DAY + timedelta(days=10))
AFTER = (DAY + timedelta(days=10), None)


@pytest.fixture
def conn(any_deployment):
    with connect(any_deployment) as opened:
        yield opened


def filled(conn, scenes):
    """An archive of ``scenes``, each a day, footprints and codes; ids count from 1."""
    if any(archive.name == "places" for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, "places")
    loader = Loader(conn, new_archive(conn, "places"))
    for number, (day, footprints, codes) in enumerate(scenes):
        acquired = None if day is None else DAY + timedelta(days=day)
        add(loader, Scene(f"{number}.tif", acquired=acquired), codes, footprints)
    loader.flush()


def row_of_boxes(start, count):
    """Footprints of ``count`` chips of one degree, side by side from ``start`` on."""
    x = start + np.arange(count)
    return shapely.box(x, 0, x + 1, 1)


def brute_force(scenes, before, after, area=None, min_overlap=0.5):
    """(distance, id, before_id, overlap) of all rows, in order."""
    chips, number = [], 0
    for day, footprints, codes in scenes:
        for footprint, code in zip(footprints, codes, strict=True):
            number += 1
            chips.append(
                (number, None if day is None else DAY + timedelta(days=day), footprint, code)
            )

    def overlap(a, b):
        return round(a.intersection(b).area / max(a.area, b.area), 6)

    def newest_of(since, until):
        inside = [
            chip for chip in chips
            if chip[1] and (not since or chip[1] >= since) and (not until or chip[1] < until)
        ]  # fmt: skip
        return [
            chip for chip in inside
            if not any(o[1] > chip[1] and overlap(o[2], chip[2]) >= min_overlap for o in inside)
        ]  # fmt: skip

    earlier, rows = newest_of(*before), []
    for id, _, footprint, code in newest_of(*after):
        if area is not None and not footprint.intersects(area):
            continue
        partners = [
            (-overlap(footprint, b[2]), -b[1].timestamp(), b[0], b[3])
            for b in earlier
            if overlap(footprint, b[2]) >= min_overlap
        ]
        if partners:
            share, _, before_id, before_code = min(partners, key=lambda partner: partner[:3])
            rows.append((int(packed.hamming(code, before_code)[0, 0]), id, before_id, -share))
    return sorted(rows, key=lambda row: (-row[0], row[1]))


def found(changes):
    return [(c.distance, c.id, c.before_id, c.overlap) for c in changes]


@st.composite
def archives(draw):
    """Scenes of chips on quarters of a degree, at few days and places, so that many coincide."""
    scenes = []
    for _ in range(draw(st.integers(1, 6))):
        day = draw(st.sampled_from([None, 1, 2, 12, 13]))
        start, count = draw(st.integers(0, 8)) / 4, draw(st.integers(1, 4))
        seed = draw(st.integers(0, 2**16))
        codes = np.random.default_rng(seed).integers(0, 256, (count, 8), dtype=np.uint8)
        scenes.append((day, row_of_boxes(start, count), codes))
    return scenes


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(scenes=archives(), min_overlap=st.sampled_from([0.25, 0.5, 0.6, 1.0]), k=st.integers(1, 5))
def test_change_equals_brute_force(conn, scenes, min_overlap, k):
    filled(conn, scenes)
    expected = brute_force(scenes, BEFORE, AFTER, min_overlap=min_overlap)

    def rows(**options):
        return found(
            find_changes(conn, "places", BEFORE, AFTER, min_overlap=min_overlap, **options)
        )

    assert rows() == expected
    assert rows(k=k) == expected[:k]
    area = shapely.box(1.1, 0.2, 1.6, 0.8)
    assert rows(filter=Filter(area=area)) == brute_force(scenes, BEFORE, AFTER, area, min_overlap)


def test_slanted_footprints_are_measured_by_their_true_shape(postgis_database):
    random = np.random.default_rng(0)
    scenes = []
    for day in (1, 2, 12):
        boxes = [
            shapely.affinity.rotate(shapely.box(x, y, x + 1, y + 1), 15 * random.random())
            for x, y in random.random((40, 2)) * 5
        ]
        scenes.append((day, boxes, random.integers(0, 256, (40, 8), dtype=np.uint8)))
    with connect(postgis_database) as conn:
        filled(conn, scenes)
        rows = found(find_changes(conn, "places", BEFORE, AFTER))
    assert len(rows) > 10
    assert rows == brute_force(scenes, BEFORE, AFTER)


def test_the_same_picture_twice_has_not_changed(conn):
    codes = np.random.default_rng(0).integers(0, 256, (5, 8), dtype=np.uint8)
    filled(conn, [(1, row_of_boxes(0, 5), codes), (12, row_of_boxes(0, 5), codes)])
    rows = find_changes(conn, "places", BEFORE, AFTER)
    assert found(rows) == [(0, 6 + n, 1 + n, 1.0) for n in range(5)]
    assert {(row.uri, row.before_uri) for row in rows} == {("1.tif", "0.tif")}
    assert {(row.acquired, row.before_acquired) for row in rows} == {
        (DAY + timedelta(days=12), DAY + timedelta(days=1))
    }
    assert rows[2].footprint["type"] == "Polygon"


def test_the_newest_of_a_period_counts(conn):
    boxes = row_of_boxes(0, 1)
    days = {1: 0, 2: 1, 12: 3, 14: 7}
    filled(conn, [(day, boxes, np.full((1, 8), value, np.uint8)) for day, value in days.items()])
    [row] = find_changes(conn, "places", BEFORE, AFTER)
    assert (row.before_id, row.id, row.distance) == (2, 4, 8 * 2)
    [row] = find_changes(
        conn,
        "places",
        (None, BEFORE[0] + timedelta(days=2)),
        (AFTER[0], AFTER[0] + timedelta(days=3)),
    )
    assert (row.before_id, row.id) == (1, 3)


def test_sql_takes_ranges_with_any_bounds(conn):
    boxes = row_of_boxes(0, 1)
    filled(conn, [(day, boxes, np.zeros((1, 8), np.uint8)) for day in (0, 1, 10)])
    query = "SELECT before_id, id FROM dcsh.change('places', %s, %s)"
    for before, after, expected in (
        ("(,2019-01-02)", "[2019-01-02,)", [(1, 3)]),
        ("(,2019-01-02]", "(2019-01-02,)", [(2, 3)]),
        ("[2019-01-01,2019-01-05)", "[2019-01-05,2019-02-01)", [(2, 3)]),
        ("[2018-01-01,2019-01-01)", "[2019-01-05,2019-02-01)", []),
    ):
        assert conn.execute(query, [before, after]).fetchall() == expected


def test_invalid_arguments_are_errors_with_a_hint(conn):
    filled(conn, [(1, row_of_boxes(0, 1), np.zeros((1, 8), np.uint8))])
    for before, after in ((AFTER, BEFORE), (BEFORE, BEFORE), ((DAY, DAY), AFTER)):
        with pytest.raises(UsageError, match="must be before period") as error:
            find_changes(conn, "places", before, after)
        assert "after =>" in error.value.hint
    with pytest.raises(UsageError, match="min_overlap must be above 0"):
        find_changes(conn, "places", BEFORE, AFTER, min_overlap=0)
    with pytest.raises(UsageError, match="k must be positive"):
        find_changes(conn, "places", BEFORE, AFTER, k=0)
    with pytest.raises(NotFound, match='archive "palaces" does not exist'):
        find_changes(conn, "palaces", BEFORE, AFTER)

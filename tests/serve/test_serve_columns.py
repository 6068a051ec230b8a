"""All chips compared in columns: the same as in SQL, for every rule, filter and length of codes."""

from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest
from shapely.geometry import box, mapping

from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.query import ExamplesQuery
from dcsh_pg.database.search.surface import (
    Examples,
    distance_histogram,
    examples_of,
    similarity_surface,
)
from dcsh_pg.serve import compare
from dcsh_pg.serve.columns import (
    NOWHERE,
    Columns,
    ColumnStore,
    Preparing,
    gathered,
    place_of,
    read,
    words,
)

HOME = "/api/archives/towns"
QUERIES = [
    ExamplesQuery([3]),
    ExamplesQuery([3, 5, 8], [9, 2]),
    ExamplesQuery([3, 5], [9, 2, 4], "rocchio"),
    ExamplesQuery([7], [], "rocchio"),
]


@pytest.mark.parametrize("query", QUERIES, ids=str)
@pytest.mark.parametrize(
    "filter", [Filter(), Filter(until=datetime(2020, 1, 1))], ids=["all", "until"]
)
def test_surface_and_histogram_are_those_of_sql(archive, query, filter):
    conn = archive.connection
    columns = read(conn, "towns", 64)
    far = compare.distances(columns, examples_of(conn, "towns", query))
    is_in = compare.selected(columns, until=filter.until)
    if is_in is not None:
        far[~is_in] = compare.FAR
    for zoom in (0, 12, 17, 24):
        expected = similarity_surface(conn, "towns", query, zoom, filter)
        found = compare.cells(columns, far, zoom)
        assert list(
            zip(found["x"], found["y"], found["distance"], found["chips"], strict=True)
        ) == [(cell.x, cell.y, cell.distance, cell.chips) for cell in expected]
    for every in ("hour", "day", "week", "month", "quarter", "year"):
        bins = distance_histogram(conn, "towns", query, filter, every=every)
        by_distance, by_period = compare.histogram(columns, far, every, 30)
        assert by_distance == {
            d: sum(bin.chips for bin in bins if bin.distance == d)
            for d in {b.distance for b in bins}
        }
        near = [bin for bin in bins if bin.distance <= 30]
        assert by_period == {
            f"{start:%Y-%m-%dT%H:%M:%SZ}": sum(bin.chips for bin in near if bin.period == start)
            for start in {bin.period for bin in near}
        }


def test_marked_surface_and_histogram_have_the_distances_of_the_hits(archive):
    query = ExamplesQuery([3, 5], [9, 2, 4], "rocchio")
    hits = archive.search(query, k=10_000)
    bins = distance_histogram(archive.connection, "towns", query)
    counts = {bin.distance: bin.chips for bin in bins}
    marked = 5
    assert sum(counts.values()) == len(hits) + marked
    distances = [hit.distance for hit in hits]
    for distance in set(distances):
        assert distances.count(distance) <= counts[distance]
    missing = sum(counts[d] - distances.count(d) for d in counts)
    assert missing == marked


def test_served_surface_within_an_area_and_without_are_alike(client, archive):
    west, south, east, north = client.get(HOME).json()["bounds"]
    asked = {"query": {"likes": [3, 5], "unlikes": [9]}, "zoom": 16}
    everywhere = client.post(f"{HOME}/surface", json=asked).json()
    area = mapping(box(west - 1, south - 1, east + 1, north + 1))
    inside = client.post(f"{HOME}/surface", json=asked | {"filter": {"area": area}}).json()
    assert everywhere == inside
    seen = client.post(
        f"{HOME}/surface", json=asked | {"bounds": [west, south, east, north]}
    ).json()
    assert seen == everywhere
    corner = [west - 1, south - 1, west - 0.5, south - 0.5]
    assert client.post(f"{HOME}/surface", json=asked | {"bounds": corner}).json()["x"] == []


def test_served_histogram_of_scenes_and_times(client, archive):
    scene = archive.similar_to(1, k=1)[0].scene_id
    filter = {"scenes": [scene], "max_distance": 20, "since": "2000-01-01"}
    found = client.post(f"{HOME}/histogram", json={"query": {"chip": 1}, "filter": filter}).json()
    hits = archive.similar_to(1, k=10_000, filter=Filter(scenes=[scene]))
    own = (
        archive.connection.execute("SELECT scene_id FROM dcsh.towns WHERE id = 1").fetchone()[0]
        == scene
    )
    assert sum(count for _, count in found["distances"]) == len(hits) + own
    near = [hit for hit in hits if hit.distance <= 20]
    assert sum(count for _, count in found["periods"]) == len(near) + own


@pytest.mark.parametrize("bits", [8, 16, 64, 72, 96, 128, 256])
def test_distances_of_codes_of_every_length(bits):
    rng = np.random.default_rng(bits)
    code = rng.integers(0, 256, (500, bits // 8), np.uint8)
    none = np.zeros(500, np.int32)
    columns = Columns(words(code), none, none, none, none, none)
    likes, unlikes = code[:3], code[3:5]
    signs = 2 * np.unpackbits(code, axis=1).astype(int) - 1
    bit_distance = (bits - signs @ signs.T) // 2
    packed = Examples(tuple(map(bytes, likes)), tuple(map(bytes, unlikes)))
    near, bad = bit_distance[:3].min(axis=0), bit_distance[3:5].min(axis=0)
    assert (
        compare.distances(columns, packed).tolist()
        == np.where(near > bad, compare.FAR, near).tolist()
    )
    weights = 2 * 2 * signs[:3].sum(axis=0) - 3 * signs[3:5].sum(axis=0)
    cost = np.where((signs > 0) == (weights > 0), 0, np.abs(weights)).sum(axis=1)
    total = np.abs(weights).sum()
    expected = (2 * bits * cost + total) // (2 * total)
    assert compare.distances(columns, replace(packed, rule="rocchio")).tolist() == expected.tolist()


def test_places_are_interleaved_and_order_cells_of_every_zoom():
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-180, 180, 1000), rng.uniform(-89, 89, 1000)
    lon[:5] = np.nan
    place = place_of(lon, lat)
    assert (place[:5] == NOWHERE).all()
    x = gathered(place[5:])
    assert np.abs(x / 2**24 * 360 - 180 - lon[5:]).max() <= 360 / 2**24
    assert (
        np.diff(gathered(place[5:] >> np.uint64(1)).astype(int)[np.argsort(-lat[5:])]) >= 0
    ).all()


def test_columns_are_read_again_when_the_archive_changes(archive, tmp_path, served_dsn):
    import psycopg

    def connect():
        return psycopg.connect(served_dsn, autocommit=True)

    store = ColumnStore(tmp_path)
    wait = store.get(archive.connection, archive, connect)
    for _ in range(60):
        try:
            first = wait()
            break
        except Preparing:
            continue
    assert first.code.shape[1] == archive.record.chips
    assert wait() is first
    other = ColumnStore(tmp_path).get(archive.connection, archive, connect)()
    assert np.array_equal(other.code, first.code)
    assert len([f for f in tmp_path.iterdir() if f.is_dir()]) == 1


def test_periods_begin_as_date_trunc_does(archive):
    conn = archive.connection
    for time in ("1969-12-31T23:59:59.5Z", "2020-02-29T12:30:00Z", "2023-01-01T00:00:00Z"):
        second = datetime.fromisoformat(time).replace(tzinfo=timezone.utc).timestamp()
        for every in ("hour", "day", "week", "month", "quarter", "year"):
            [start] = conn.execute(
                "SELECT date_trunc(%s, %s::timestamptz, 'UTC')", [every, time]
            ).fetchone()
            assert compare.period_start(second, every) == f"{start:%Y-%m-%dT%H:%M:%SZ}"

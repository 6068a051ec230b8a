"""Search by several examples and by a region, against plain brute force on every kind of server."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
import searching as search
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from synthetic import Scene, add, new_archive

from dcsh_pg import codes as packed
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound, UsageError

EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
DAY = datetime(2021, 6, 1, tzinfo=timezone.utc)
FEW_CODES = arrays(np.uint8, st.tuples(st.integers(4, 40), st.just(2)), elements=st.integers(0, 7))
"""Of 16 bits, with many ties."""


@pytest.fixture
def conn(any_deployment):
    with connect(any_deployment) as opened:
        yield opened


@pytest.fixture
def indexed(any_hamming):
    with connect(any_hamming) as opened:
        yield opened


def filled(conn, codes, *, footprints=None, indexed=False):
    """Chips with ids from 1 on, one scene and day each ten of them."""
    bits = 8 * codes.shape[1]
    if any(archive.name == "places" for archive in registry.list_archives(conn)):
        registry.drop_archive(conn, "places")
    loader = Loader(conn, new_archive(conn, "places", bits))
    for n in range(0, len(codes), 10):
        part = slice(n, n + 10)
        scene = Scene(f"{n}.tif", acquired=DAY + timedelta(days=n // 10))
        add(loader, scene, codes[part], footprints[part] if footprints is not None else None)
    loader.flush()
    if indexed:
        conn.execute("SELECT dcsh.create_code_index('places')")


def brute_force(codes, likes, unlikes, rule, keep=None):
    """(distance, id) of all hits, by (distance, id); ids count from 1."""
    if rule == "rocchio":
        return rocchio(codes, likes, unlikes, keep)
    hits = []
    to_likes = packed.hamming(codes, codes[np.array(likes) - 1])
    to_unlikes = packed.hamming(codes, codes[np.array(unlikes, int) - 1]) if unlikes else None
    for n in range(len(codes)):
        if n + 1 in likes or n + 1 in unlikes or (keep is not None and not keep[n]):
            continue
        if rule == "min":
            distance = to_likes[n].min()
            refused = unlikes and to_unlikes[n].min() < distance
        else:
            distance = int(np.floor(to_likes[n].mean() + 0.5))
            refused = unlikes and (
                to_unlikes[n].sum() * len(likes) < to_likes[n].sum() * len(unlikes)
            )
        if not refused:
            hits.append((int(distance), n + 1))
    return sorted(hits)


def rocchio(codes, likes, unlikes, keep=None):
    """The same for rule rocchio, by (2 mean(likes) - mean(unlikes)) . b and the id."""
    signs = 2 * np.unpackbits(codes, axis=1).astype(int) - 1
    total = [signs[np.array(ids, int) - 1].sum(0) for ids in (likes, unlikes)]
    weights = 2 * max(len(unlikes), 1) * total[0] - len(likes) * total[1]
    costs = (np.abs(weights).sum() - signs @ weights) // 2
    whole = max(np.abs(weights).sum(), 1)
    distances = (2 * len(weights) * costs + whole) // (2 * whole)
    ids = set(range(1, len(codes) + 1)) - set(likes) - set(unlikes)
    ids = [id for id in ids if keep is None or keep[id - 1]]
    return [(int(distances[id - 1]), id) for id in sorted(ids, key=lambda id: (costs[id - 1], id))]


def found(hits):
    return [(hit.distance, hit.id) for hit in hits]


@st.composite
def questions(draw):
    """Codes, and some of their ids that are liked and unliked."""
    codes = draw(FEW_CODES)
    ids = draw(st.permutations(range(1, len(codes) + 1)))
    likes = draw(st.integers(1, min(4, len(ids))))
    unlikes = draw(st.integers(0, min(3, len(ids) - likes)))
    return codes, ids[:likes], ids[likes : likes + unlikes]


def check_question(conn, question, rule, k, radius, mask, indexed):
    codes, likes, unlikes = question
    expected = brute_force(codes, likes, unlikes, rule)
    for stored in (codes, codes ^ mask):
        filled(conn, stored, indexed=indexed)

        def hits(stored_likes=likes, **options):
            return found(
                search.similar_to_examples(
                    conn, "places", stored_likes, unlikes, rule=rule, **options
                )
            )

        assert hits(k=k) == expected[:k]
        assert hits(k=k, stored_likes=[*likes[::-1], likes[0]]) == expected[:k]
        near = [hit for hit in expected if hit[0] <= radius]
        assert hits(k=k, max_distance=radius) == near[:k]
        later = brute_force(codes, likes, unlikes, rule, keep=np.arange(len(codes)) >= 10)
        assert hits(k=k, since=DAY + timedelta(days=1)) == later[:k]
        early = brute_force(codes, likes, unlikes, rule, keep=np.arange(len(codes)) < 10)
        assert hits(k=k, until=DAY + timedelta(days=1)) == early[:k]


question = {
    "question": questions(),
    "rule": st.sampled_from(["min", "mean", "rocchio"]),
    "k": st.integers(1, 50),
    "radius": st.integers(0, 16),
    "mask": arrays(np.uint8, (2,)),
}


@EXAMPLES
@given(**question)
def test_examples_equal_brute_force_with_ties_and_under_an_xor_mask(conn, **given):
    check_question(conn, **given, indexed=False)


@EXAMPLES
@given(**question)
def test_examples_equal_brute_force_with_the_index(indexed, **given):
    check_question(indexed, **given, indexed=True)


def test_walks_go_on_where_unlikes_refuse_what_is_near(indexed):
    """The first 300 chips are one bit from the like, and nearer to the unlike."""
    codes = np.zeros((1000, 8), np.uint8)
    codes[1:301] = [1] + 7 * [0]
    codes[301:] = np.random.default_rng(0).integers(0, 256, (699, 8), dtype=np.uint8) & 62
    filled(indexed, codes, indexed=True)
    indexed.execute("ANALYZE dcsh.places")
    expected = brute_force(codes, [1], [2], "min")
    for k in (1, 20, 200, 999):
        hits = search.similar_to_examples(indexed, "places", [1], [2], k=k)
        assert found(hits) == expected[:k]
    walk = """
        SELECT (dcsh_private.walk_to_examples('places', %s, %s, %s,
                    dcsh_private.checked_filter('places', other_than => '{1,2}'), true)).ids
        """
    like, unlike = ([str(packed.to_text(codes[n]))] for n in (0, 1))
    [few] = indexed.execute(walk, [like, unlike, 20]).fetchone()
    assert few == [id for _, id in expected[:20]]
    assert indexed.execute(walk, [like, unlike, 2000]).fetchone() == (None,)


@pytest.mark.parametrize("marked", [(1, 0), (3, 0), (1, 1), (4, 2), (7, 9)])
def test_rocchio_is_exact_where_a_walk_proves_it_and_where_all_codes_are_compared(indexed, marked):
    """Groups of codes a few bits apart: the index is walked for some of these questions only."""
    random = np.random.default_rng(sum(marked))
    groups = random.integers(0, 256, (40, 8), dtype=np.uint8)
    flips = random.integers(0, 256, (3, 6000, 8), dtype=np.uint8)
    codes = groups[random.integers(0, 40, 6000)] ^ (flips[0] & flips[1] & flips[2])
    filled(indexed, codes, indexed=True)
    indexed.execute("ANALYZE dcsh.places")
    nearest = packed.hamming(codes, codes[:1])[:, 0].argsort(kind="stable") + 1
    likes = nearest[: marked[0]].tolist()
    unlikes = nearest[marked[0] : sum(marked)].tolist()
    expected = brute_force(codes, likes, unlikes, "rocchio")
    for k in (1, 10, 100, 2000):
        hits = search.similar_to_examples(indexed, "places", likes, unlikes, rule="rocchio", k=k)
        assert found(hits) == expected[:k]
    near = search.similar_to_examples(
        indexed, "places", likes, unlikes, rule="rocchio", k=2000, max_distance=expected[50][0]
    )
    assert found(near) == [hit for hit in expected if hit[0] <= expected[50][0]]


@pytest.mark.parametrize("rule", ["min", "mean", "rocchio"])
def test_one_like_is_similar_to(conn, rule):
    codes = np.random.default_rng(0).integers(0, 256, (300, 8), dtype=np.uint8)
    filled(conn, codes)
    for filters in ({}, {"k": 40, "max_distance": 30}, {"since": DAY + timedelta(days=9)}):
        one = search.similar_to_examples(conn, "places", [7], rule=rule, **filters)
        assert one == search.similar_to(conn, "places", 7, **filters)


def test_an_unlike_with_the_code_of_a_like_refuses_nothing(conn):
    codes = np.random.default_rng(0).integers(0, 256, (50, 8), dtype=np.uint8)
    codes[8] = codes[3]
    filled(conn, codes)
    with_it = search.similar_to_examples(conn, "places", [4], [9], k=50)
    without = search.similar_to_examples(conn, "places", [4], k=50)
    assert with_it == [hit for hit in without if hit.id != 9]


@pytest.mark.parametrize("rule", ["min", "mean", "rocchio"])
def test_a_thousand_examples(conn, rule):
    codes = np.random.default_rng(0).integers(0, 256, (1200, 8), dtype=np.uint8)
    filled(conn, codes)
    likes, unlikes = list(range(1, 1001)), [1001, 1002]
    hits = search.similar_to_examples(conn, "places", likes, unlikes, rule=rule, k=200)
    assert found(hits) == brute_force(codes, likes, unlikes, rule)


def test_invalid_arguments_are_errors_with_a_hint(conn):
    filled(conn, np.zeros((3, 8), np.uint8))

    def ask(*arguments, **options):
        return search.similar_to_examples(conn, "places", *arguments, **options)

    with pytest.raises(UsageError, match="likes must not be empty") as error:
        ask([])
    assert "at least one chip" in error.value.hint
    with pytest.raises(UsageError, match="unknown rule 'median'") as error:
        ask([1], rule="median")
    assert "mean" in error.value.hint
    with pytest.raises(UsageError, match="chip 2 is both liked and unliked"):
        ask([1, 2], [3, 2])
    with pytest.raises(UsageError, match="k must be positive"):
        ask([1], k=0)
    with pytest.raises(NotFound, match='archive "places" has no chip 9'):
        ask([1], [9])
    with pytest.raises(NotFound, match='archive "palaces" does not exist'):
        search.similar_to_examples(conn, "palaces", [1])


def grid(side):
    """Footprints of side x side chips of one degree, rows from the south."""
    cells = np.arange(side * side)
    x, y = cells % side, cells // side
    return shapely.box(x, y, x + 1, y + 1)


@pytest.fixture
def squares(conn):
    """An archive of 8 x 8 chips of one degree: chip 1 at 0, 0, chip 9 at 0, 1."""
    codes = np.random.default_rng(0).integers(0, 256, (64, 8), dtype=np.uint8)
    filled(conn, codes, footprints=grid(8))
    return conn


def asked(conn, region, **options):
    return search.similar_region(conn, "places", region, **options)


def chips_asked_by(conn, region, **options):
    """The ids that are left out of all hits: those that covered the region."""
    hits = asked(conn, region, k=64, **options)
    return sorted(set(range(1, 65)) - {hit.id for hit in hits})


def test_a_region_on_one_chip_asks_as_that_chip(squares):
    one = search.similar_to(squares, "places", 10, k=20)
    for region in (
        shapely.box(1, 1, 2, 2),
        shapely.box(1.3, 1.2, 1.4, 1.3),
        shapely.box(0.95, 0.95, 2.05, 2.05),
        shapely.Polygon([(1.1, 1.1), (1.9, 1.1), (1.5, 1.9)]),
    ):
        assert asked(squares, region, k=20) == one


@pytest.mark.parametrize("rule", ["min", "mean"])
def test_a_region_asks_as_the_chips_that_it_covers(squares, rule):
    region = shapely.box(0.9, 1.9, 4.1, 3.7)
    covering = [18, 19, 20, 26, 27, 28]
    assert asked(squares, region, k=9, rule=rule) == search.similar_to_examples(
        squares, "places", covering, k=9, rule=rule
    )
    assert chips_asked_by(squares, region, rule=rule) == covering


@EXAMPLES
@given(
    box=st.tuples(*[st.integers(-3, 30)] * 2, *[st.integers(1, 14)] * 2),
    min_share=st.sampled_from([0.0, 0.3, 0.6, 1.0]),
)
def test_the_chips_that_cover_a_box_are_those_of_shapely(squares, box, min_share):
    x, y, width, height = (value / 4 for value in box)
    region = shapely.box(x, y, x + width, y + height)
    footprints = grid(8)
    shares = shapely.area(shapely.intersection(footprints, region)) / min(1.0, region.area)
    meets = shapely.intersects(footprints, region)
    covering = np.flatnonzero(meets & (shares >= (min_share - 1e-9) * shares.max())) + 1
    if not shares.any():
        with pytest.raises(NotFound, match="covers the region") as error:
            asked(squares, region)
        assert "dcsh.extent" in error.value.hint
    else:
        assert chips_asked_by(squares, region, min_share=min_share) == covering.tolist()


def test_the_hits_of_a_region_meet_the_conditions(squares):
    region, area = shapely.box(1, 1, 3, 3), shapely.box(4.5, 0.5, 7.5, 7.5)
    since = DAY + timedelta(days=2)
    hits = asked(squares, region, k=64, area=area, since=since)
    assert {hit.id for hit in hits} == {
        n + 1 for n, box in enumerate(grid(8)) if n >= 20 and box.intersects(area)
    }


def test_a_slanted_region_is_measured_by_its_true_shape(postgis_database):
    with connect(postgis_database) as conn:
        filled(
            conn, np.random.default_rng(0).integers(0, 256, (64, 8), np.uint8), footprints=grid(8)
        )
        random = np.random.default_rng(1)
        for corners in [[(1, 1), (5, 1), (1, 5)], *(random.random((12, 3, 2)) * 9)]:
            triangle = shapely.Polygon(corners)
            shares = shapely.area(shapely.intersection(grid(8), triangle)) / min(1, triangle.area)
            covering = np.flatnonzero(shares >= 0.6 * shares.max()) + 1
            assert chips_asked_by(conn, triangle) == covering.tolist()
        for point in (
            "'POINT(2.5 3.5)'",
            "ST_Transform('SRID=4326;POINT(2.5 3.5)'::geometry, 3857)",
        ):
            ids = conn.execute(
                f"SELECT id FROM dcsh.similar_region('places', {point}, k => 5)"
            ).fetchall()
            assert [id for (id,) in ids] == [
                hit.id for hit in search.similar_to(conn, "places", 27, k=5)
            ]


def test_a_share_beyond_all_is_refused(squares):
    with pytest.raises(UsageError, match="min_share must lie between 0 and 1, not 2"):
        asked(squares, shapely.box(1, 1, 2, 2), min_share=2)

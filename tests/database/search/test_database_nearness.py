"""How near a distance is: the share of random pairs, counted when a load ends, beside every hit."""

import numpy as np
import pytest
import searching as search
from synthetic import Scene, add, new_archive

from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search.hits import hits
from dcsh_pg.database.search.near_duplicates import near_duplicates
from dcsh_pg.database.search.nearness import nothing_near
from dcsh_pg.database.search.query import CodeQuery, ExamplesQuery
from dcsh_pg.database.search.statistics import pair_shares


def clustered(count, seed=0):
    random = np.random.default_rng(seed)
    centres = random.integers(0, 256, (8, 2), dtype=np.uint8)
    noise = np.packbits(random.random((count, 16)) < 0.1, axis=-1)
    return centres[random.integers(0, 8, count)] ^ noise


def shares(codes):
    """Of all pairs, at most 0, 1, ... 16 bits apart."""
    first, second = np.triu_indices(len(codes), 1)
    apart = np.unpackbits(codes[first] ^ codes[second], axis=1).sum(axis=1)
    return [np.mean(apart <= bits) for bits in range(17)]


def stored(conn):
    [(counts,)] = conn.execute("SELECT pair_distances FROM dcsh.archive WHERE name = 'places'")
    return counts


def test_shares_are_counted_when_a_load_ends_and_again_after_the_next(conn):
    codes = clustered(400)
    loader = Loader(conn, new_archive(conn, "places", 16))
    assert pair_shares(conn, "places") == []
    add(loader, Scene("a"), codes[:200])
    loader.flush()
    assert stored(conn) is None
    assert pair_shares(conn, "places") == pytest.approx(shares(codes[:200]), abs=1e-6)
    loader.finish()
    assert sum(stored(conn)) == 200 * 199 / 2
    add(loader, Scene("b"), codes[200:])
    loader.flush()
    assert stored(conn) is None
    loader.finish()
    assert pair_shares(conn, "places") == pytest.approx(shares(codes), abs=1e-6)
    loader.finish()
    assert sum(stored(conn)) == 400 * 399 / 2
    [(share,)] = conn.execute("SELECT dcsh.pair_share('places', 5)")
    assert share == pytest.approx(shares(codes)[5], abs=1e-6)


def test_every_hit_has_the_share_of_its_distance(conn):
    codes = clustered(300)
    loader = Loader(conn, new_archive(conn, "places", 16))
    add(loader, Scene("a"), codes)
    loader.flush()
    loader.finish()
    of = shares(codes)
    answers = [
        search.similar(conn, "places", codes[0], k=300),
        search.within(conn, "places", codes[0], 6),
        search.similar_to(conn, "places", 1, k=20),
        search.similar_to_examples(conn, "places", [1, 2], rule="rocchio", k=20),
        [duplicate.chip for duplicate in near_duplicates(conn, "places", 1)],
    ]
    for answer in answers:
        assert answer
        for hit in answer:
            assert hit.pair_share == pytest.approx(of[hit.distance], abs=1e-6)


def test_a_note_says_that_nothing_is_near(core):
    loader = Loader(core, new_archive(core, "places", 16))
    add(loader, Scene("a"), np.zeros((200, 2), np.uint8) + clustered(200) % 4)
    loader.flush()
    record = registry.get_archive(core, "places")
    near, far = CodeQuery(bytes(2)), CodeQuery(b"\xff\xff")
    assert nothing_near(core, record, near, hits(core, "places", near)) is None
    answer = hits(core, "places", far)
    note = nothing_near(core, record, far, answer)
    assert note == (
        f"nothing near: the first hit differs in {answer[0].distance} of 16 bits, and 100.0% of "
        "random pairs of chips differ in no more"
    )
    assert nothing_near(core, record, ExamplesQuery([1]), answer) is None
    assert nothing_near(core, record, far, []) is None

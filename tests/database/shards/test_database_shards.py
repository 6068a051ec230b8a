"""Archives over three servers give what one server gives, and ask the shards for no more than that."""

import json

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sharded import BITS, both, both_layers, day, load, same, told
from synthetic import new_archive

from dcsh_pg.codes import hamming
from dcsh_pg.database import migrate, registry, search, shards
from dcsh_pg.database.plan import search_plan
from dcsh_pg.errors import NotFound


@both_layers
@pytest.mark.parametrize("by", ["scene", "chip"])
def test_every_search_gives_the_rows_of_one_server(conn, places, by):
    both(conn, places, by=by)
    same(conn)
    stored = conn.execute("SELECT id, substr(bit_send(code), 5) FROM dcsh.one ORDER BY id")
    ids, codes = zip(*stored, strict=True)
    codes = np.frombuffer(b"".join(codes), np.uint8).reshape(len(ids), -1)

    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        code=st.binary(min_size=BITS // 8, max_size=BITS // 8),
        chip=st.sampled_from(ids),
        k=st.sampled_from([1, 2, 7, 40, 1000]),
        radius=st.integers(0, BITS),
        box=st.none() | st.tuples(st.integers(0, 12), st.integers(0, 6)),
        since=st.none() | st.integers(0, 7),
        until=st.none() | st.integers(0, 7),
        bound=st.none() | st.integers(0, BITS),
    )
    def check(code, chip, k, radius, box, since, until, bound):
        filters = {
            "area": None if box is None else shapely.box(*box, box[0] + 5, box[1] + 2),
            "since": None if since is None else day(since),
            "until": None if until is None else day(until),
        }
        nearest = {"k": k, "max_distance": bound, **filters}
        one, many = (told(search.similar(conn, a, code, **nearest)) for a in ("one", "many"))
        assert one == many
        if filters == dict.fromkeys(filters) and bound is None:
            distances = hamming(codes, np.frombuffer(code, np.uint8))[:, 0]
            order = np.lexsort((ids, distances))[:k]
            assert [hit[:2] for hit in many] == [(ids[i], distances[i]) for i in order]
        one, many = (told(search.similar_to(conn, a, chip, **nearest)) for a in ("one", "many"))
        assert one == many
        one, many = (told(search.within(conn, a, code, radius, **filters)) for a in ("one", "many"))
        assert one == many

    check()


QUESTIONS = (
    "SELECT dcsh.code_of('many', 17)",
    "SELECT dcsh.chip_at('many', 3.5, 1.2), dcsh.chip_at('many', 300, 1)",
    "SELECT * FROM dcsh.extent('many')",
    "SELECT * FROM dcsh.similar_to_examples('many', ARRAY[3, 5], ARRAY[9], k => 20)",
    "SELECT * FROM dcsh.similar_to_examples('many', ARRAY[3, 5], k => 20, rule => 'mean')",
    "SELECT * FROM dcsh.similar_region('many', dcsh._place(3.5, 1.2), k => 20)",
    "SELECT * FROM dcsh.near_duplicates('many', 1)",
    "SELECT * FROM dcsh.change('many', '[2021-01-01,2021-01-03)', '[2021-01-04,2021-01-08)')",
    "SELECT * FROM dcsh.bit_statistics('many')",
    "SELECT * FROM dcsh.code_statistics('many')",
    "SELECT * FROM dcsh.frequent_codes('many')",
    "SELECT * FROM dcsh.coverage('many', cell => 2, every => 'day')",
    "SELECT * FROM dcsh.many_layer ORDER BY id",
)


@both_layers
def test_everything_else_gives_the_rows_of_one_server(conn, places):
    new_archive(conn, "many", BITS)
    load(conn, "many")
    before = {ask: conn.execute(ask).fetchall() for ask in QUESTIONS}
    record = registry.get_archive(conn, "many")
    shards.shard(conn, "many", places)
    for ask, answer in before.items():
        assert answer and conn.execute(ask).fetchall() == answer, ask
    assert registry.get_archive(conn, "many") == record
    assert search_plan(conn, record).uses.startswith("3 servers")
    found = shards.shards(conn, "many")
    assert [s.shard for s in found] == [1, 2, 3] and all(s.chips for s in found)
    assert sum(s.chips for s in found) == record.chips
    with pytest.raises(NotFound, match="no chip 100000"):
        search.code_of(conn, "many", 100_000)


def test_an_upgrade_of_the_schema_leaves_shards_as_they_are(conn, databases, places):
    both(conn, places)
    for database in databases:
        migrate.upgrade(database)
    same(conn)
    assert len(shards.shards(conn, "many")) == 3 and shards.shards(conn, "one") == []


def test_a_scene_lies_on_one_shard_or_on_all(conn, places):
    both(conn, places)
    spread = "SELECT max(parts) FROM (SELECT count(DISTINCT tableoid) parts FROM dcsh.many GROUP BY scene_id) s"
    assert conn.execute(spread).fetchone() == (1,)
    assert shards.unshard(conn, "many") == shards.shard(conn, "many", places, by="chip")
    assert conn.execute(spread).fetchone() == (3,)


def foreign_scans(conn, ask) -> list[dict]:
    """The scans of shards in the plan that PostgreSQL carries out when ``ask`` is called."""
    plans = []
    conn.execute(
        """
        LOAD 'auto_explain';
        SET auto_explain.log_min_duration = 0;
        SET auto_explain.log_nested_statements = on;
        SET auto_explain.log_analyze = on;
        SET auto_explain.log_verbose = on;
        SET auto_explain.log_format = json;
        SET client_min_messages = log;
        """
    )
    conn.add_notice_handler(lambda told: plans.append(told.message_primary.partition("plan:")[2]))
    ask()
    waiting = [json.loads(plan)["Plan"] for plan in plans if "Foreign Scan" in plan]
    scans = []
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        scans += [node] if node["Node Type"] == "Foreign Scan" else []
    return scans


@both_layers
@pytest.mark.parametrize("filters", [{}, {"since": day(1)}, {"max_distance": 3}])
def test_each_shard_is_asked_for_k_rows_in_order_and_all_at_once(conn, places, filters):
    both(conn, places)
    scans = foreign_scans(conn, lambda: search.similar(conn, "many", bytes(4), k=5, **filters))
    assert len(scans) == 3
    for scan in scans:
        assert scan["Async Capable"] and scan["Actual Rows"] <= 5 and "Filter" not in scan
        _, _, order = scan["Remote SQL"].partition(" ORDER BY ")
        assert "<~>" in order and ", id " in order and " LIMIT 5" in order


@both_layers
def test_what_is_not_in_the_area_does_not_travel(conn, places):
    both(conn, places)
    area = shapely.box(6, 0.1, 12, 0.2)
    found = []
    scans = foreign_scans(
        conn, lambda: found.extend(search.similar(conn, "many", bytes(4), k=100, area=area))
    )
    assert sum(scan["Actual Rows"] for scan in scans) == len(found) > 0
    assert len(scans) == 3 and not any("Filter" in scan for scan in scans)


@pytest.mark.parametrize("radius", [0, 5, BITS])
def test_only_what_is_within_a_distance_or_near_to_it_travels(conn, places, radius):
    both(conn, places)
    load(conn, "many", range(30, 130))
    found = []
    scans = foreign_scans(conn, lambda: found.extend(search.within(conn, "many", bytes(4), radius)))
    assert found
    near, within = [], []
    for scan in scans:
        (near if "ORDER BY" in scan["Remote SQL"] else within).append(scan["Actual Rows"])
    assert len(near) == 3 and max(near) <= 200
    assert within == [] if len(found) < 200 else sum(within) == len(found)


@both_layers
def test_the_shards_tell_the_extent_and_not_the_footprints(conn, places):
    both(conn, places)
    scans = foreign_scans(conn, lambda: registry.extent(conn, "many"))
    assert [scan["Actual Rows"] for scan in scans] == [1, 1, 1]
    assert all(scan["Async Capable"] and "min(" in scan["Remote SQL"] for scan in scans)


@both_layers
def test_scenes_come_change_and_go_as_on_one_server(conn, places):
    both(conn, places)
    before = same(conn)
    for archive in ("one", "many"):
        load(conn, archive, range(10, 40), version="new", seed=1)
        registry.remove_scene(conn, archive, f"{archive}/3.tif")
    assert same(conn) != before
    assert [row[0] for row in same(conn)] != [row[0] for row in before]

"""Archives beside a real pgstac with 300 NAIP items, held to brute force in Python."""

import json
import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import psycopg
import pytest
import searching as search
import shapely
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb
from stac_items import make_naip
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg import Archive, CodeQuery, Filter
from dcsh_pg import codes as packed
from dcsh_pg.cli.main import app
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.chip_batches import batches
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search import pgstac
from dcsh_pg.database.search.cql2 import parse_condition
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.errors import InputError, NotFound, ServerError, UsageError

EXAMPLES = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FINE = {"op": "<=", "args": [{"property": "gsd"}, 0.5]}


@dataclass(frozen=True)
class Chip:
    id: int
    code: np.ndarray
    footprint: shapely.Polygon
    acquired: datetime
    item: dict


@contextmanager
def cloned(admin, template):
    name = f"dcsh_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield make_conninfo(admin, dbname=name)
        finally:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def pypgstac(*arguments):
    """In a process of its own, because it changes how psycopg reads JSON in all of its process."""
    done = subprocess.run(
        [sys.executable, "-m", "pypgstac.pypgstac", *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """The 300 items, each with a small raster at its place, newline-delimited."""
    return make_naip(tmp_path_factory.mktemp("naip"))


@pytest.fixture(scope="module")
def naip(items, model_file, postgis_admin, postgis_template, tmp_path_factory):
    """A database with pgstac, the items in it, and archive 'naip' of their rasters."""
    pytest.importorskip("pypgstac", reason="needs pypgstac: pip install 'pypgstac[psycopg]'")
    given = Path(os.environ["DCSH_TEST_DATA"], "stac", "collections.ndjson")
    collections = tmp_path_factory.mktemp("collections") / "collections.ndjson"
    lines = given.read_text().splitlines()
    # The items are of a collection that is not among those given.
    lines.append(json.dumps(json.loads(lines[0]) | {"id": "naip"}))
    collections.write_text("\n".join(lines) + "\n")
    with cloned(postgis_admin, postgis_template) as dsn:
        with psycopg.connect(postgis_admin) as conn:
            # pgstac makes roles of the whole server, and another worker may do so now.
            conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('pgstac', 0))")
            pypgstac("migrate", "--dsn", dsn)
        pypgstac("load", "collections", collections, "--dsn", dsn)
        pypgstac("load", "items", items, "--dsn", dsn)
        report = Archive.create("naip", model_file, chip_size=64, dsn=dsn).ingest_stac(str(items))
        assert (report.stored, report.chips) == (300, 1200)
        yield dsn


@pytest.fixture
def archive(naip):
    opened = Archive.open("naip", dsn=naip)
    yield opened
    opened.connection.close()


@pytest.fixture(scope="module")
def chips(naip, items):
    """What brute force looks through."""
    loaded = [json.loads(line) for line in items.read_text().splitlines()]
    by_id = {item["id"]: item for item in loaded}
    with connect(naip) as conn:
        [(columns, footprints)] = batches(conn, "naip", 5000)
    return [
        Chip(id, np.frombuffer(code, np.uint8), footprint, acquired, by_id[item_id])
        for id, code, footprint, acquired, item_id in zip(
            columns["id"], columns["code"], footprints, columns["acquired"], columns["item_id"],
            strict=True,
        )
    ]  # fmt: skip


def brute_force(chips, code, matches, *, k, area=None, since=None, until=None, max_distance=64):
    """(distance, id) of the k nearest chips that meet everything."""
    kept = [
        chip
        for chip in chips
        if matches(chip.item)
        and (area is None or chip.footprint.intersects(area))
        and (since is None or chip.acquired >= since)
        and (until is None or chip.acquired < until)
    ]
    distances = [int(packed.hamming(chip.code, code)[0, 0]) for chip in kept]
    near = sorted((d, chip.id) for d, chip in zip(distances, kept, strict=True))
    return [hit for hit in near if hit[0] <= max_distance][:k]


def found(hits):
    return [(hit.distance, hit.id) for hit in hits]


def compared(name, op, literal):
    """A comparison as CQL2-JSON, and as a condition on an item."""
    does = {
        "=": lambda a: a == literal,
        "<=": lambda a: a <= literal,
        ">": lambda a: a > literal,
        "<>": lambda a: a != literal,
    }[op]
    return (
        {"op": op, "args": [{"property": name}, literal]},
        lambda item: does(item["properties"][name]),
    )


def among(years):
    return (
        {"op": "in", "args": [{"property": "naip:year"}, sorted(years)]},
        lambda item: item["properties"]["naip:year"] in years,
    )


LEAVES = st.one_of(
    st.builds(
        compared, st.just("gsd"), st.sampled_from(["=", "<=", ">"]), st.sampled_from([0.3, 0.6, 1])
    ),
    st.builds(compared, st.just("naip:state"), st.just("<>"), st.sampled_from(["al", "fl"])),
    st.builds(
        among, st.sets(st.sampled_from(["2011", "2019", "2021", "2023"]), min_size=1, max_size=3)
    ),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(
            lambda both: (
                {"op": "and", "args": [both[0][0], both[1][0]]},
                lambda item: both[0][1](item) and both[1][1](item),
            )
        ),
        st.tuples(inner, inner).map(
            lambda both: (
                {"op": "or", "args": [both[0][0], both[1][0]]},
                lambda item: both[0][1](item) or both[1][1](item),
            )
        ),
        inner.map(lambda one: ({"op": "not", "args": [one[0]]}, lambda item: not one[1](item))),
    ),
    max_leaves=4,
)
YEARS = st.none() | st.integers(2010, 2024).map(lambda y: datetime(y, 6, 1, tzinfo=timezone.utc))


@EXAMPLES
@given(
    filter=FILTERS,
    query=st.integers(1, 1200),
    k=st.integers(1, 60),
    west=st.none() | st.floats(-88, -85.3),
    since=YEARS,
    until=YEARS,
    max_distance=st.none() | st.integers(0, 40),
)
def test_hits_equal_brute_force_under_every_condition_at_once(
    archive, chips, filter, query, k, west, since, until, max_distance
):
    assume(since is None or until is None or since < until)
    cql2, matches = filter
    code = chips[query - 1].code
    area = None if west is None else shapely.box(west, 30.8, west + 0.5, 31.1)
    conditions = {"k": k, "area": area, "since": since, "until": until}
    found_there = search.similar(
        archive.connection, "naip", code, stac=cql2, max_distance=max_distance, **conditions
    )
    reach = 64 if max_distance is None else max_distance
    expected = brute_force(chips, code, matches, max_distance=reach, **conditions)
    assert found(found_there) == expected


def test_an_area_a_date_range_and_a_filter_together(archive, chips):
    cql2 = {"op": "and", "args": [FINE, {"op": "=", "args": [{"property": "naip:year"}, "2021"]}]}
    conditions = {
        "area": shapely.box(-86.5, 30.8, -85.5, 31.1),
        "since": datetime(2021, 11, 1, tzinfo=timezone.utc),
        "until": datetime(2021, 11, 10, tzinfo=timezone.utc),
        "k": 10,
    }
    expected = brute_force(
        [chip for chip in chips if chip.id != 1],
        chips[0].code,
        lambda item: item["properties"]["gsd"] <= 0.5 and item["properties"]["naip:year"] == "2021",
        **conditions,
    )
    assert len(expected) == 10
    hits = search.similar_to(archive.connection, "naip", 1, stac=cql2, **conditions)
    assert found(hits) == expected


def test_psql_python_and_the_command_line_give_the_same_rows(archive, naip, tmp_path):
    file = tmp_path / "fine.json"
    file.write_text(json.dumps(FINE))
    python = archive.similar_to(7, k=5, filter=Filter(stac=FINE))
    rows = archive.connection.execute(
        """
        SELECT h.distance, h.id
        FROM dcsh.similar_to('naip', 7, k => 5,
                             scenes => ARRAY(SELECT dcsh.scenes_in_stac('naip', %s))) h
        """,
        [Jsonb(FINE)],
    ).fetchall()
    assert rows == found(python)
    for filter in (json.dumps(FINE), str(file)):
        arguments = ["search", "naip", "--chip", "7", "-k", "5", "--cql2", filter, "-f", "json"]
        done = CliRunner().invoke(app, [*arguments, "--dsn", naip])
        assert done.exit_code == 0, done.stderr
        assert [(hit["distance"], hit["id"]) for hit in json.loads(done.stdout)] == rows


def test_a_code_is_searched_for_as_well_as_a_chip(archive, chips):
    query = CodeQuery(bytes(chips[3].code))
    assert archive.search(query, k=1, filter=Filter(stac=FINE))[0].distance == 0


@pytest.mark.parametrize("query", [["--like", "1,2"], ["--region=-85.99,30.95,-85.89,30.99"]])
def test_several_chips_and_a_filter_together(archive, chips, naip, query):
    """All of their hits, of which those whose item passes the filter remain."""
    fine = {chip.id for chip in chips if chip.item["properties"]["gsd"] <= 0.5}

    def rows(*arguments):
        options = ["search", "naip", *query, "-k", "1200", *arguments, "-f", "json", "--dsn", naip]
        done = CliRunner().invoke(app, options)
        assert done.exit_code == 0, done.stderr
        return [(hit["distance"], hit["id"]) for hit in json.loads(done.stdout)]

    everything = rows()
    expected = [(distance, id) for distance, id in everything if id in fine]
    assert 0 < len(expected) < len(everything)
    assert rows("--cql2", json.dumps(FINE)) == rows("--cql2", "gsd <= 0.5") == expected


def scenes_in_stac(conn, archive, filter):
    with sql_errors():
        rows = conn.execute("SELECT dcsh.scenes_in_stac(%s, %s)", [archive, Jsonb(filter)])
        return [id for (id,) in rows]


def test_scenes_are_those_of_the_items_that_meet_the_filter(archive, chips):
    expected = {chip.item["id"] for chip in chips if chip.item["properties"]["gsd"] <= 0.5}
    scenes = scenes_in_stac(archive.connection, "naip", FINE)
    rows = archive.connection.execute(
        "SELECT item_id FROM dcsh.scene WHERE id = ANY (%s)", [scenes]
    ).fetchall()
    assert scenes == sorted(scenes) and {item_id for (item_id,) in rows} == expected


def test_an_item_that_pgstac_does_not_have_meets_no_filter(archive):
    conn = archive.connection
    loader = Loader(conn, new_archive(conn, "strangers"))
    everything = {"op": "not", "args": [{"op": "isNull", "args": [{"property": "id"}]}]}
    for scene in (
        Scene("a.tif", collection="naip", item_id="never heard of"),
        Scene("b.tif", collection="elsewhere", item_id="al_m_3008501_ne_16_030_20211103"),
        Scene("c.tif"),
        Scene("d.tif", collection="naip", item_id="al_m_3008501_ne_16_030_20211103"),
    ):
        add(loader, scene, np.zeros((1, 8), np.uint8))
    loader.flush()
    try:
        hits = search.similar(conn, "strangers", bytes(8), stac=everything)
        assert [hit.uri for hit in hits] == ["d.tif"]
    finally:
        registry.drop_archive(conn, "strangers")


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ({}, "not a filter in CQL2-JSON"),
        ({"filter": FINE}, "not a filter in CQL2-JSON"),
        ({"op": "near", "args": [{"property": "gsd"}, 1]}, "near"),
        ({"op": "<=", "args": [{"property": "datetime"}, "yesterday or so"]}, "yesterday or so"),
        ({"op": "and", "args": []}, "pgstac rejected the filter"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(archive, filter, message):
    with pytest.raises(UsageError, match=message) as refused:
        scenes_in_stac(archive.connection, "naip", filter)
    assert refused.value.hint


@pytest.mark.parametrize("text", ["[1]", "{op", '"text"'])
def test_a_file_that_holds_no_filter_is_refused(text, tmp_path):
    file = tmp_path / "filter.json"
    file.write_text(text)
    with pytest.raises(UsageError, match="--cql2"):
        parse_condition(str(file), "--cql2")


def test_a_filter_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.json"):
        parse_condition(str(tmp_path / "nowhere.json"), "--cql2")


def test_the_view_has_each_chip_with_its_item(archive, chips, naip):
    done = CliRunner().invoke(app, ["pgstac", "naip", "--dsn", naip])
    assert (done.exit_code, done.stdout) == (0, "dcsh.naip_items\n")
    assert pgstac.create_view(archive.connection, "naip") == "dcsh.naip_items"
    rows = archive.connection.execute(
        """
        SELECT id, code, collection, item_id, datetime, properties
        FROM dcsh.naip_items ORDER BY id
        """
    ).fetchall()
    assert len(rows) == len(chips) == 1200
    for chip, (id, code, *item) in zip(chips, rows, strict=True):
        properties = chip.item["properties"]
        assert (id, code) == (chip.id, packed.to_text(chip.code))
        assert item[:3] == ["naip", chip.item["id"], datetime.fromisoformat(
            properties["datetime"].replace("Z", "+00:00"))]  # fmt: skip
        assert item[3] == properties
    [(geometry,)] = archive.connection.execute(
        "SELECT type FROM geometry_columns WHERE f_table_name = 'naip_items'"
    ).fetchall()
    assert geometry == "POLYGON"
    assert pgstac.drop_view(archive.connection, "naip")
    assert not pgstac.drop_view(archive.connection, "naip")


def test_an_archive_is_dropped_with_its_view(archive):
    conn = archive.connection
    new_archive(conn, "fleeting")
    pgstac.create_view(conn, "fleeting")
    registry.drop_archive(conn, "fleeting")
    assert conn.execute("SELECT to_regclass('dcsh.fleeting_items')").fetchone() == (None,)


def test_a_table_is_not_taken_for_the_view(archive):
    conn = archive.connection
    new_archive(conn, "naip_items")
    try:
        with pytest.raises(UsageError, match="not a view"):
            pgstac.create_view(conn, "naip")
        assert not pgstac.drop_view(conn, "naip")
    finally:
        registry.drop_archive(conn, "naip_items")


def test_a_reader_of_both_schemas_may_search_whatever_its_search_path(naip, chips):
    role = f"dcsh_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(naip) as conn:  # rolled back at the end, role and all
        conn.execute(f"CREATE ROLE {role}")
        conn.execute(f"GRANT USAGE ON SCHEMA dcsh, dcsh_private TO {role}")
        conn.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA dcsh TO {role}")
        conn.execute(f"SET ROLE {role}")
        conn.execute("SET search_path = nowhere")
        ask = sql.SQL(
            "SELECT id FROM dcsh.similar('naip', dcsh.code_of('naip', 1), 1, "
            "scenes => ARRAY(SELECT dcsh.scenes_in_stac('naip', {})))"
        )
        ask = ask.format(sql.Literal(json.dumps(FINE)))
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema pgstac") as refused,
            conn.transaction(),
        ):
            conn.execute(ask)
        assert f"GRANT pgstac_read TO {role}" in refused.value.diag.message_hint
        conn.execute("RESET ROLE")
        conn.execute(f"GRANT pgstac_read TO {role}")
        conn.execute(f"SET ROLE {role}")
        assert conn.execute(ask).fetchall() == [(1,)]
        assert conn.execute("SHOW search_path").fetchone() == ("nowhere",)
        conn.rollback()


def test_without_pgstac_one_clear_error(any_database):
    with connect(any_database) as conn:
        new_archive(conn, "places")
        for call in (
            lambda: search.similar(conn, "places", bytes(8), stac=FINE),
            lambda: scenes_in_stac(conn, "places", FINE),
            lambda: pgstac.create_view(conn, "places"),
        ):
            with pytest.raises(ServerError, match="no pgstac") as missing:
                call()
            assert "pypgstac migrate" in missing.value.hint
        assert not pgstac.drop_view(conn, "places")
        with pytest.raises(NotFound, match="nowhere"):
            pgstac.create_view(conn, "nowhere")


@pytest.mark.parametrize("kind", ["database", "hamming", "postgis_database"])
def test_a_search_in_some_scenes_equals_brute_force_with_and_without_the_index(request, kind):
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (4000, 2), dtype=np.uint8)
    day = datetime(2020, 1, 1, tzinfo=timezone.utc)
    with connect(request.getfixturevalue(kind)) as conn:
        loader = Loader(conn, new_archive(conn, "places", 16))
        for n in range(40):
            scene = Scene(f"{n}.tif", acquired=day + timedelta(days=n))
            add(loader, scene, codes[100 * n : 100 * n + 100])
        loader.flush()
        loader.finish()
        for scenes in ([], [3], [3, 17, 40, 999], list(range(1, 41)), None):
            for since in (None, day + timedelta(days=10)):
                rows = conn.execute(
                    """
                    SELECT h.distance, h.id FROM dcsh.similar(
                        'places', %s::bit(16), 25, since => %s, scenes => %s) h
                    """,
                    [packed.to_text(codes[0]), since, scenes],
                ).fetchall()
                chosen = set(range(1, 41) if scenes is None else scenes)
                expected = sorted(
                    (int(distance), n + 1)
                    for n, distance in enumerate(packed.hamming(codes, codes[:1])[:, 0])
                    if n // 100 + 1 in chosen and (since is None or n // 100 >= 10)
                )[:25]
                assert rows == expected
        assert len(search.within(conn, "places", codes[0].tobytes(), 16)) == 4000

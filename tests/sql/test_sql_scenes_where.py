"""Scenes by their properties: ``dcsh.scenes_where`` against a brute force, and combined with searches."""

from datetime import date, datetime, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from synthetic import Scene, add, new_archive

from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.errors import NotFound, UsageError

NAMES = ["gsd", "eo:cloud_cover", 'it\'s "here" %s', "when"]
STRINGS = ["", "a", "B", "ab", "é", "100%", "a_b", "\\", "'; DROP TABLE dcsh.scene; --", "2020-01-01",
           "2020-01-01T00:00:00Z", "2020-01-01T05:00:00+05:00", "2020-02-30", "2021-06-01T12:30:00.5Z"]  # fmt: skip
NUMBERS = [-1, 0, 0.5, 1, 10, 1e300]
VALUES = st.sampled_from([*STRINGS, *NUMBERS, True, False, None]) | st.just([1]) | st.just({"a": 1})
PROPERTIES = st.dictionaries(st.sampled_from(NAMES), VALUES)

PROPERTY = st.sampled_from(NAMES).map(lambda name: {"property": name})
LITERAL = (
    st.sampled_from([*STRINGS, *NUMBERS, True, False])
    | st.sampled_from(STRINGS[-2:] + STRINGS[-5:-3]).map(lambda text: {"timestamp": text})
    | st.just({"date": "2020-01-01"})
).filter(lambda literal: literal != {"timestamp": "2020-02-30"})
OPERATORS = {
    "=": lambda a, b: a == b, "<>": lambda a, b: a != b, "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
COMPARISON = st.builds(
    lambda op, name, literal, turned: {"op": op, "args": [literal, name] if turned else [name, literal]},
    st.sampled_from(sorted(OPERATORS)), PROPERTY, LITERAL, st.booleans(),
)  # fmt: skip
CASELESS = st.builds(
    lambda op, name, text: {"op": op, "args": [{"op": "casei", "args": [a]} for a in (name, text)]},
    st.sampled_from(["=", "like"]), PROPERTY, st.sampled_from(["A", "AB", "b", "%B"]),
)  # fmt: skip
LEAF = st.one_of(
    COMPARISON, CASELESS, PROPERTY, st.booleans(),
    PROPERTY.map(lambda name: {"op": "isNull", "args": [name]}),
    st.builds(lambda *args: {"op": "between", "args": list(args)}, PROPERTY, LITERAL, LITERAL),
    st.builds(lambda name, values: {"op": "in", "args": [name, values]}, PROPERTY, st.lists(LITERAL, min_size=1)),
    st.builds(lambda name, text: {"op": "like", "args": [name, text]}, PROPERTY,
              st.sampled_from(["", "%", "a%", "_", "100\\%", "%'%", "a\\_b", "\\\\"])),
)  # fmt: skip
FILTER = st.recursive(
    LEAF,
    lambda inner: st.builds(lambda arg: {"op": "not", "args": [arg]}, inner)
    | st.builds(
        lambda op, args: {"op": op, "args": args},
        st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)  # fmt: skip


def instant(text):
    if not isinstance(text, str) or len(text) < 10:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def like(text, pattern):
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(text[n:], pattern[1:]) for n in range(len(text) + 1))
    if not text:
        return False
    if pattern[0] == "\\":
        return text[0] == pattern[1] and like(text[1:], pattern[2:])
    return pattern[0] in ("_", text[0]) and like(text[1:], pattern[1:])


def compared(op, value, literal):
    """True, False, or None where the value is missing or of another type."""
    if isinstance(literal, dict) and "timestamp" in literal:
        value, literal = instant(value), instant(literal["timestamp"])
    elif isinstance(literal, dict) and "date" in literal:
        value, literal = instant(value), date.fromisoformat(literal["date"])
        value = None if value is None else value.astimezone(timezone.utc).date()
    elif isinstance(literal, dict):
        literal = literal["args"][0].lower()
        value = value.lower() if isinstance(value, str) else None
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(literal, (int, float)) and not isinstance(literal, bool):
        value = value if numeric else None
    elif type(value) is not type(literal):
        value = None
    if value is None:
        return None
    return like(value, literal) if op == "like" else OPERATORS[op](value, literal)


def conjunction(results):
    results = list(results)
    return False if False in results else None if None in results else True


def negation(result):
    return None if result is None else not result


def disjunction(results):
    return negation(conjunction(map(negation, results)))


def satisfied(filter, properties):
    """The definition of CQL2, with the three values of SQL."""

    def value(operand):
        operand = operand["args"][0] if "args" in operand else operand
        return properties.get(operand["property"])

    if isinstance(filter, bool):
        return filter
    if "property" in filter:
        return compared("=", value(filter), True)
    op, args = filter["op"], filter["args"]
    if op in ("and", "or"):
        combine = conjunction if op == "and" else disjunction
        return combine(satisfied(arg, properties) for arg in args)
    if op == "not":
        return negation(satisfied(args[0], properties))
    if op == "isNull":
        return value(args[0]) is None
    if op == "between":
        return conjunction(
            compared(o, value(args[0]), arg) for o, arg in zip((">=", "<="), args[1:], strict=True)
        )
    if op == "in":
        return disjunction(compared("=", value(args[0]), arg) for arg in args[1])
    first = args[0]
    if not isinstance(first, dict) or not ("property" in first or "args" in first):
        return compared(MIRRORED.get(op, op), value(args[1]), first)
    return compared(op, value(first), args[1])


def scenes_where(conn, filter, archive="places"):
    with sql_errors():
        rows = conn.execute("SELECT dcsh.scenes_where(%s, %s)", [archive, Jsonb(filter)])
        return [id for (id,) in rows.fetchall()]


@pytest.fixture
def conn(any_database):
    with connect(any_database) as opened:
        yield opened


def filled(conn, properties):
    loader = Loader(conn, new_archive(conn, "places"))
    for n, of_scene in enumerate(properties):
        codes = np.full((2, 8), n % 256, np.uint8)
        add(loader, Scene(f"{n}.tif", properties=of_scene), codes)
    loader.flush()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenes=st.lists(PROPERTIES, min_size=1, max_size=8), filter=FILTER)
def test_scenes_are_those_of_a_brute_force(conn, scenes, filter):
    if conn.execute("SELECT count(*) FROM dcsh.archive").fetchone() == (0,):
        filled(conn, [{}] * 8)
    for n in range(8):
        properties = scenes[n] if n < len(scenes) else {}
        conn.execute(
            "UPDATE dcsh.scene SET properties = %s WHERE id = %s", [Jsonb(properties), n + 1]
        )
    scenes += [{}] * (8 - len(scenes))
    expected = [
        n for n, properties in enumerate(scenes, 1) if satisfied(filter, properties) is True
    ]
    assert scenes_where(conn, filter) == expected


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        (None, "not a filter in CQL2-JSON"),
        ([], "not a filter in CQL2-JSON"),
        ("gsd", "not a filter in CQL2-JSON"),
        ({"op": "s_intersects", "args": [{"property": "gsd"}, 1]}, "not a filter in CQL2-JSON"),
        ({"op": "= 1 OR true; --", "args": [{"property": "gsd"}, 1]}, "not a filter in CQL2-JSON"),
        ({"op": "=", "args": [{"property": "gsd"}]}, "not a filter in CQL2-JSON"),
        ({"op": "in", "args": [{"property": "gsd"}, []]}, "not a filter in CQL2-JSON"),
        ({"op": "and", "args": {"a": 1}}, "not a filter in CQL2-JSON"),
        ({"op": "=", "args": [{"property": "gsd"}, None]}, "not a value to compare"),
        ({"op": "=", "args": [{"property": "gsd"}, {"property": "a"}]}, "not a value to compare"),
        ({"op": "=", "args": [{"op": "+", "args": [{"property": "x"}, 1]}, 2]}, "not a property"),
        ({"op": "=", "args": [{"property": 1}, 2]}, "not a property"),
        ({"op": "=", "args": [1, 2]}, "not a property"),
        ({"op": "like", "args": [{"property": "gsd"}, 1]}, "not a string"),
        ({"op": "like", "args": [{"property": "gsd"}, "a\\"]}, "ends with the escape character"),
        ({"op": "<", "args": [{"property": "gsd"}, {"timestamp": "now"}]}, "not a date or time"),
        ({"op": "<", "args": [{"property": "gsd"}, {"date": "2020-02-30"}]}, "not a date or time"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_an_error(conn, filter, message):
    filled(conn, [{"gsd": 1}])
    with pytest.raises(UsageError, match=message) as error:
        scenes_where(conn, filter)
    assert "supported are and, or" in error.value.hint


def test_depth_is_bounded_and_the_archive_must_exist(conn):
    filled(conn, [{"gsd": 1}])
    filter = {"op": "=", "args": [{"property": "gsd"}, 1]}
    for _ in range(31):
        filter = {"op": "and", "args": [filter]}
    assert scenes_where(conn, filter) == [1]
    with pytest.raises(UsageError, match="32 levels"):
        scenes_where(conn, {"op": "not", "args": [filter]})
    with pytest.raises(NotFound, match="nowhere"):
        scenes_where(conn, filter, "nowhere")


def test_every_search_takes_scenes(any_deployment):
    """Of 30 scenes, one a year, with two chips each of the same code; every third one is fine."""
    with connect(any_deployment) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        for n in range(30):
            acquired = datetime(1990 + n, 6, 1, tzinfo=timezone.utc)
            scene = Scene(
                f"{n}.tif", acquired=acquired, properties={"gsd": [0.3, 1, "coarse"][n % 3]}
            )
            add(loader, scene, np.full((2, 8), n, np.uint8))
        loader.flush()
        loader.finish()
        fine = 'ARRAY(SELECT dcsh.scenes_where(\'places\', \'{"op": "<", "args": [{"property": "gsd"}, 0.5]}\'))'
        expected = set(range(1, 31, 3))
        code = "repeat('0', 64)::bit(64)"
        for call in (
            f"dcsh.similar('places', {code}, 60, scenes => {fine})",
            f"dcsh.similar_to('places', 5, 60, scenes => {fine})",
            f"dcsh.within('places', {code}, 64, scenes => {fine})",
            f"dcsh.similar_to_examples('places', '{{5,9}}', k => 60, scenes => {fine})",
            f"dcsh.similar_to_examples('places', '{{5}}', k => 60, rule => 'mean', scenes => {fine})",
            f"dcsh.similar_to_examples('places', '{{5}}', k => 60, rule => 'rocchio', scenes => {fine})",
            f"dcsh.near_duplicates('places', 0, scenes => {fine})",
            f"dcsh_private.chips('places', scenes => {fine})",
        ):  # fmt: skip
            found = conn.execute(f"SELECT array_agg(DISTINCT scene_id) FROM {call}").fetchone()[0]
            assert set(found) == expected, call
            none = call.replace(fine, "'{}'")
            assert conn.execute(f"SELECT count(*) FROM {none}").fetchone() == (0,)
        counted = conn.execute(
            f"SELECT sum(chips), sum(scene_count) FROM dcsh.coverage('places', 1, scenes => {fine})"
        )
        assert counted.fetchone() == (20, 10)

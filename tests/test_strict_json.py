import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsh_pg import strict_json, strict_wkt

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab[]{}\"\\", max_size=3), inner),
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(values)
def test_what_can_be_kept_is_read_as_python_reads_it(value):
    assert strict_json.loads_checked(json.dumps(value)) == value


@settings(deadline=None, max_examples=40)
@given(values, st.integers(0, 3))
def test_cutting_changes_nothing_that_is_not_too_deep(value, more):
    text = json.dumps(value)
    assert strict_json._cut(text) == text
    deep = "[" * (strict_json.MAX_DEPTH + more) + "1" + "]" * (strict_json.MAX_DEPTH + more)
    parsed = json.loads(strict_json._cut(f"[{text}, {deep}, {text}]"))
    assert (parsed[0], parsed[2]) == (value, value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1e999", "out of range: 1e999"),
        ("-1e999", "out of range"),
        ("9" * 5000, "an integer of 5000 digits"),
        ('"\\u0000"', "NUL"),
        ('"\\ud800"', "lone surrogate"),
        ('{"\\u0000": 1}', "NUL"),
        ("[" * 100_000 + "]" * 100_000, "nested more than 100 levels"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested more than 100 levels"),
        ("[" * 100_000, "never closed"),
        ("[1,", "Expecting value"),
    ],
)
def test_what_cannot_be_kept_is_a_value_error_and_spoils_nothing_beside_it(text, reason):
    with pytest.raises(ValueError, match=reason):
        strict_json.loads_checked(text)
    if not reason.startswith(("never", "Expecting")):
        first, hostile, last = strict_json.loads(f'[{{"id": 1}}, {text}, {{"id": 2}}]')
        assert (first, last) == ({"id": 1}, {"id": 2})
        strict_json.check([first, last])
        with pytest.raises(ValueError, match=reason):
            strict_json.check(hostile)


def test_nan_becomes_null_and_is_refused_where_it_comes_from_elsewhere():
    assert strict_json.loads_checked("[NaN, -Infinity]") == [None, None]
    with pytest.raises(ValueError, match="nan, which is not a JSON number"):
        strict_json.check({"a": math.nan})


def test_deep_wkt_does_not_overflow_the_stack():
    assert strict_wkt.loads("MULTIPOLYGON(((0 0,1 0,1 1,0 0)))").area == 0.5
    deep = "GEOMETRYCOLLECTION(" * 200_000 + "POINT(1 1)" + ")" * 200_000
    for text in (deep, "POLYGON((", "x"):
        with pytest.raises(ValueError):
            strict_wkt.loads(text)

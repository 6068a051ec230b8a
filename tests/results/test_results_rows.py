"""Rows of any kind: what a colleague of a hit must be reported as."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import numpy as np
import pytest
from shapely import box
from shapely.geometry import shape

from dcsh_pg import results
from dcsh_pg.errors import UsageError
from dcsh_pg.results.record import HIT_COLUMNS, Table


@dataclass(frozen=True)
class Change:
    id: int
    distance: int | None
    before: datetime | None
    kind: Literal["built", "gone"]
    share: float
    footprint: dict[str, Any] | None
    window: tuple[int, int, int, int]
    tags: list[str]


NOON = datetime(2021, 7, 4, 12, 0, tzinfo=timezone(timedelta(hours=2)))
CHANGES = [
    Change(7, 3, NOON, "built", 0.25, box(8, 48, 9, 49), (0, 64, 32, 32), ["a"]),
    Change(8, None, None, "gone", float("nan"), None, (32, 64, 32, 32), []),
]


def test_hits_are_flat_and_in_utc(hits):
    table = Table.of_hits(hits)
    first, last = table.records[0], table.records[-1]
    assert list(first)[: len(HIT_COLUMNS)] == list(HIT_COLUMNS)
    assert (first["rank"], first["distance"], first["id"]) == (1, 0, 100)
    assert first["acquired"].isoformat() == "2021-07-04T16:02:00+00:00"
    assert first["class"] == "beach"
    assert (last["rank"], last["acquired"]) == (5, None)


def test_property_does_not_hide_a_column(make_hit):
    [row] = Table.of_hits([make_hit(3, properties={"id": "S2A", "Geometry": "x"})]).records
    assert (row["id"], row["scene:id"], row["scene:Geometry"]) == (103, "S2A", "x")


def test_rows_of_a_dataclass():
    first, last = json.loads(results.dumps(CHANGES, "json", columns=Change))
    assert shape(first.pop("footprint")).equals(box(8, 48, 9, 49))
    assert first == {
        "id": 7, "distance": 3, "before": "2021-07-04T10:00:00Z", "kind": "built", "share": 0.25,
        "col_off": 0, "row_off": 64, "width": 32, "height": 32, "tags": ["a"],
    }  # fmt: skip
    assert [last[name] for name in ("distance", "before", "share", "footprint")] == [None] * 4


def test_types_are_those_of_the_dataclass_with_and_without_rows():
    expected = {
        "id": int, "distance": int, "before": datetime, "kind": str, "share": float,
        "col_off": int, "row_off": int, "width": int, "height": int, "tags": str,
    }  # fmt: skip
    assert Table.of([], Change).types == Table.of(CHANGES, Change).types == expected


def test_rows_may_be_mappings_and_numbers_numpys():
    rows = [{"count": np.int64(3), "share": np.float32(0.5), "footprint": box(0, 0, 1, 1)}]
    columns = {"count": int, "share": float}
    feature = json.loads(results.dumps(rows, "geojsonseq", columns=columns))
    assert feature["properties"] == {"count": 3, "share": 0.5}
    assert "id" not in feature


def test_types_of_properties_are_what_their_values_have_in_common(make_hit):
    properties = [
        {"gsd": 1, "cloud": 1, "eo": {"a": [1]}, "night": True, "key": 2**64},
        {"gsd": 0.5, "cloud": "none", "night": None, "key": 1},
    ]
    table = Table.of_hits([make_hit(n, properties=each) for n, each in enumerate(properties)])
    assert {name: table.types[name] for name in properties[0]} == {
        "gsd": float, "cloud": str, "eo": str, "night": bool, "key": str,
    }  # fmt: skip
    assert table.columns["gsd"] == [1.0, 0.5]
    assert table.columns["cloud"] == ["1", "none"]
    assert table.columns["eo"] == ['{"a": [1]}', None]


def test_rows_are_shown_with_all_columns_but_empty_ones(capsys):
    results.show(CHANGES, columns=Change)
    text = capsys.readouterr().out
    assert "2021-07-04 10:00" in text and "8.5000°E, 48.5000°N" in text and "built" in text
    results.show(CHANGES[1:], columns=Change)
    assert "before" not in capsys.readouterr().out
    results.show([], columns=Change)
    assert "distance" in capsys.readouterr().out
    results.show(CHANGES, "csv", columns=Change)
    assert capsys.readouterr().out == results.dumps(CHANGES, "csv", columns=Change)


def test_contact_sheet_is_of_hits_only(tmp_path):
    path = tmp_path / "changes.png"
    for use in (
        lambda: results.check_output(path, of_hits=False),
        lambda: results.write(CHANGES, path, columns=Change),
    ):
        with pytest.raises(UsageError, match="contact sheet") as caught:
            use()
        assert ".map.png" in caught.value.hint and " .png" not in caught.value.hint
    results.check_output(tmp_path / "changes.parquet", of_hits=False)

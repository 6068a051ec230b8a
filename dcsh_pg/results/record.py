"""Rows of any kind as one table of scalar columns and footprints, the same for every output."""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from functools import cached_property
from pathlib import PurePosixPath
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from shapely.geometry.base import BaseGeometry

    from dcsh_pg.database.search.hits import Hit

WINDOW = ("col_off", "row_off", "width", "height")

HIT_COLUMNS: dict[str, type] = {
    "rank": int,
    "distance": int,
    "pair_share": float,
    "id": int,
    "scene_id": int,
    "uri": str,
    "collection": str,
    "item_id": str,
    "acquired": datetime,
    **dict.fromkeys(WINDOW, int),
    "valid_fraction": float,
}
"""The columns of every hit, in order; the properties of its scene follow.  Between them, hits that may be
approximate have the column ``approximate``, which is true."""

SCALARS = (bool, int, float, str, datetime)
"""Types that a column may have; what is none of them becomes JSON text in tabular formats."""

_RESERVED = {"footprint", "geometry", "geom", "bbox", "wkt", "fid"}


Row: TypeAlias = "DataclassInstance | Mapping[str, Any]"
"""A row of an answer: a dataclass like ``dcsh_pg.database.search.hits.Hit``, or a mapping.

Its fields are the columns of the outputs, in their order, but for these:

    footprint     the row's place: GeoJSON or shapely geometry in longitude and latitude, or None
    window        col_off, row_off, width, height: four columns of these names
    properties    a mapping (of a scene): its items follow the other columns, under their own names
    a dataclass   its fields
"""

Columns: TypeAlias = "type | Mapping[str, type]"
"""The dataclass that rows are of, or the type of each column: int, float, bool, str or datetime."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows as every output takes them.

    Attributes:
        declared: type of each column that a table has even without rows, in order.
        records: a dict a row: the declared columns, then what properties it has.
        footprints: a geometry in longitude and latitude, or None, a row.
        hits: the rows, if they are the hits of a search.
    """

    declared: dict[str, type]
    records: list[dict[str, Any]]
    footprints: list[BaseGeometry | None]
    hits: Sequence[Hit] = ()

    @classmethod
    def of(cls, rows: Iterable[Row], columns: Columns) -> Table:
        """The table of ``rows``; ``columns`` are declared even without rows."""
        declared = _declared(columns)
        records, footprints = [], []
        for row in rows:
            fields = row if isinstance(row, Mapping) else _fields(row)
            records.append(_record(fields, declared))
            footprints.append(to_geometry(fields.get("footprint")))
        return cls(declared, records, footprints)

    @classmethod
    def of_hits(cls, hits: Iterable[Hit]) -> Table:
        """The table of a search's hits: ``HIT_COLUMNS``; ``rank`` counts from 1."""
        hits = list(hits)
        rows = [{"rank": rank} | _fields(hit) for rank, hit in enumerate(hits, start=1)]
        flag = {"approximate": bool} if any(hit.approximate for hit in hits) else {}
        return dataclasses.replace(cls.of(rows, HIT_COLUMNS | flag), hits=hits)

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def types(self) -> dict[str, type]:
        """Column -> one of ``SCALARS``; that of a property is what all its values have in common."""
        names = dict.fromkeys(name for record in self.records for name in record)
        return self.declared | {
            name: _common_type(record.get(name) for record in self.records)
            for name in names
            if name not in self.declared
        }

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        """Column -> its values, all of the column's type or None, for tabular formats."""
        return {
            name: [_cell(record.get(name), type_) for record in self.records]
            for name, type_ in self.types.items()
        }


def _fields(row: DataclassInstance) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        is_row = dataclasses.is_dataclass(value) and not isinstance(value, type)
        fields |= _fields(value) if is_row else {field.name: value}
    return fields


def _declared(columns: type | Mapping[str, type]) -> dict[str, type]:
    if not isinstance(columns, Mapping):
        hints = get_type_hints(columns)
        columns = {field.name: hints[field.name] for field in dataclasses.fields(columns)}
    declared: dict[str, type] = {}
    for name, hint in columns.items():
        if dataclasses.is_dataclass(hint):
            declared |= _declared(hint)
        elif name == "window":
            declared |= dict.fromkeys(WINDOW, int)
        elif name not in ("footprint", "properties"):
            declared[name] = _scalar_type(hint)
    return declared


def _scalar_type(hint: Any) -> type:
    """``int | None`` -> int, ``Literal['a', 'b']`` -> str; anything else -> str."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = [_scalar_type(part) for part in get_args(hint) if part is not type(None)]
        return inner[0] if len(set(inner)) == 1 else str
    if get_origin(hint) is Literal:
        return _common_type(get_args(hint))
    return hint if hint in SCALARS else str


def _common_type(values: Iterable[Any]) -> type:
    known = [value for value in values if value is not None]
    found = {type(value) for value in known}
    if int in found and any(isinstance(v, int) and abs(v) >= 2**63 for v in known):
        return str
    if found == {int, float}:
        return float
    return found.pop() if len(found) == 1 and found <= set(SCALARS) else str


def _record(fields: Mapping[str, Any], declared: Mapping[str, type]) -> dict[str, Any]:
    window = fields.get("window")
    fields = dict(fields) | ({} if window is None else dict(zip(WINDOW, window, strict=True)))
    record = {name: _plain(fields.get(name)) for name in declared}
    for name, value in (fields.get("properties") or {}).items():
        is_taken = name in declared or name.lower() in _RESERVED
        record[f"scene:{name}" if is_taken else name] = _plain(value)
    return record


def _plain(value: Any) -> Any:
    """A value as Python's own: times in UTC, bytes as hexadecimal, NaN as None."""
    if hasattr(value, "tolist"):  # of numpy
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return utc(value)
    return value.hex() if isinstance(value, bytes) else value


def _cell(value: Any, type_: type) -> Any:
    if value is None or type(value) is type_:
        return value
    if type_ is not str:
        return type_(value)
    return value.isoformat() if hasattr(value, "isoformat") else to_json_text(value)


def to_json_text(value: Any) -> str:
    """JSON on one line; a time is ISO 8601 in UTC, a tuple an array."""
    return json.dumps(value, ensure_ascii=False, default=_to_json)


def _to_json(value: Any) -> str:
    if isinstance(value, datetime):
        return iso(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise TypeError(f"cannot write a {type(value).__name__}: {value!r}")


def to_geometry(footprint: dict[str, Any] | BaseGeometry | None) -> BaseGeometry | None:
    """A footprint as a shapely geometry."""
    from shapely.geometry import shape

    return shape(footprint) if isinstance(footprint, Mapping) else footprint


def utc(time: datetime) -> datetime:
    """The time in UTC; one without a zone is taken as UTC."""
    if time.tzinfo is None:
        return time.replace(tzinfo=timezone.utc)
    return time.astimezone(timezone.utc)


def iso(time: datetime) -> str:
    """ISO 8601 in UTC, as in '2021-07-04T16:02:00Z'."""
    return utc(time).isoformat().replace("+00:00", "Z")


def place(footprint: dict[str, Any] | BaseGeometry | None) -> str:
    """The centre of a footprint for people, '77.0365°W, 38.8977°N', or '' without one."""
    geometry = to_geometry(footprint)
    if geometry is None or geometry.is_empty:
        return ""
    lon, lat = geometry.centroid.x, geometry.centroid.y
    return f"{abs(lon):.4f}°{'EW'[lon < 0]}, {abs(lat):.4f}°{'NS'[lat < 0]}"


def scene_name(uri: str) -> str:
    """The last part of a scene's URI, which people know it by; of a scene of several files their folder."""
    before, brace, rest = uri.partition("{")
    if brace and "}" in rest and before.endswith("/"):
        uri = before
    return PurePosixPath(uri.split("?", 1)[0].replace("\\", "/")).name or uri

"""Every SQL statement of the plugin, as text; needs no QGIS.

Each calls public functions of schema dcsh, and all values are quoted literals: QGIS's connections bind
no parameters. A row comes as one column of JSON, so that types do not depend on QGIS's version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Union

from .queries import (
    Archive,
    ChipQuery,
    CodeQuery,
    ExamplesQuery,
    Filter,
    InvalidInput,
    Query,
    RegionQuery,
)

EXAMPLES_RULE = "rocchio"
MOST_CODES = 100
"""Codes that dcsh.similarity_surface takes."""


def literal(value: Union[str, int, float, bool, None]) -> str:
    """A value as an SQL literal, whatever standard_conforming_strings is."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if "\0" in value:
        raise InvalidInput("the text contains a NUL character")
    quoted = "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    return f" E{quoted}" if "\\" in value else quoted


def identifier(name: str) -> str:
    """A name as a quoted SQL identifier."""
    if "\0" in name:
        raise InvalidInput("the name contains a NUL character")
    return '"' + name.replace('"', '""') + '"'


def ids(values: Sequence[int]) -> str:
    """An SQL array of keys."""
    return f"'{{{','.join(str(int(value)) for value in values)}}}'::bigint[]"


def code(text: str, bits: int) -> str:
    """A code that the user gave, hexadecimal or bits, as an SQL literal.

    Raises:
        InvalidInput: it is neither, or has another length than the archive's codes.
    """
    text = "".join(text.split()).lower()
    if re.fullmatch("[01]+", text) and len(text) == bits:
        return f"B'{text}'"
    digits = text[2:] if text.startswith("0x") else text
    if not re.fullmatch("[0-9a-f]+", digits):
        raise InvalidInput("a code is hexadecimal, 0x9f3a… for example, or bits")
    if 4 * len(digits) != bits:
        raise InvalidInput(f"the code has {4 * len(digits)} bits, the archive's have {bits}")
    return f"x'{digits}'"


def area(archive: Archive, wkt: str | None) -> str:
    """A polygon in EPSG:4326 as a value of dcsh.area.

    Raises:
        InvalidInput: without PostGIS it is not one polygon without holes.
    """
    if wkt is None:
        return "NULL"
    if archive.has_postgis:
        return literal(f"SRID=4326;{wkt}") + "::dcsh.area"
    ring = re.fullmatch(r"\s*(?:multi)?polygon\s*\(+([^()]+)\)+\s*", wkt, re.IGNORECASE)
    if not ring:
        raise InvalidInput("a database without PostGIS searches one polygon without holes only")
    corners = [tuple(float(n) for n in corner.split()) for corner in ring[1].split(",")]
    text = ",".join(f"({x!r},{y!r})" for x, y in corners[:-1])
    return literal(f"({text})") + "::dcsh.area"


def _call(function: str, **arguments: str) -> str:
    listed = ", ".join(f"{name} => {text}" for name, text in arguments.items())
    return f"dcsh.{function}({listed})"


def _filtered(archive: Archive, filter: Filter, *omitted: str) -> dict[str, str]:
    """The arguments of a filter, those that are NULL left out."""
    arguments = {
        "area": area(archive, filter.area),
        "since": literal(filter.since),
        "until": literal(filter.until),
        "max_distance": literal(filter.max_distance),
        "scenes": "NULL",
    }
    if filter.where is not None:
        found = _call("scenes_where", archive=literal(archive.name), filter=literal(filter.where))
        arguments["scenes"] = f"ARRAY(SELECT {found})"
    return {n: text for n, text in arguments.items() if text != "NULL" and n not in omitted}


def _rows(columns: str, source: str) -> str:
    """The one place where a statement is put together, of quoted parts."""
    return f"SELECT row_to_json(r)::text FROM (SELECT {columns} FROM {source}) r"  # nosec B608


_HIT = """h.ordinality AS rank, h.id, h.distance, h.acquired, h.valid_fraction, h.scene_id, s.uri,
    s.properties -> 'bands' AS bands, h.col_off, h.row_off, h.width, h.height, h.geom::text AS geom"""


def archives() -> str:
    """The archives of a database with the fields of `Archive`."""
    return _rows(
        """a.name, m.bits, coalesce(sum(s.chips), 0) AS chips, count(s.id) AS scenes,
               (SELECT b.typname <> 'polygon' FROM pg_catalog.pg_type t
                JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
                WHERE t.oid = 'dcsh.area'::regtype) AS has_postgis""",
        """dcsh.archive a JOIN dcsh.model m ON m.id = a.model_id
        LEFT JOIN dcsh.scene s ON s.archive_id = a.id
        GROUP BY a.name, m.bits ORDER BY a.name""",
    )


def extent(archive: Archive) -> str:
    """west, south, east and north of an archive's footprints."""
    return _rows("*", _call("extent", archive=literal(archive.name)))


def chip_at(archive: Archive, lon: float, lat: float) -> str:
    """The chip at a place, or a row of NULL."""
    call = _call("chip_at", archive=literal(archive.name), lon=literal(lon), lat=literal(lat))
    return _rows("c.id", f"{call} c (id)")


def chips(archive: Archive, chosen: Sequence[int]) -> str:
    """Chips by id, with footprints."""
    return _rows(
        "c.id, c.geom::text AS geom",
        f"dcsh.{identifier(archive.name)} c WHERE c.id = ANY ({ids(chosen)}) ORDER BY c.id",
    )


def search(archive: Archive, query: Query, filter: Filter, k: int) -> str:
    """The hits of a search with the paths of their scenes, in the order of the search."""
    name = {"archive": literal(archive.name)}
    rest = {"k": literal(k), **_filtered(archive, filter)}
    if isinstance(query, ChipQuery):
        call = _call("similar_to", **name, id=literal(query.chip), **rest)
    elif isinstance(query, CodeQuery):
        call = _call("similar", **name, code=code(query.code, archive.bits), **rest)
    elif isinstance(query, RegionQuery):
        call = _call("similar_region", **name, region=area(archive, query.region), **rest)
    else:
        examples = {"likes": ids(query.likes), "unlikes": ids(query.unlikes)}
        rule = {"rule": literal(EXAMPLES_RULE)}
        call = _call("similar_to_examples", **name, **examples, **rule, **rest)
    return _rows(
        _HIT,
        f"{call} WITH ORDINALITY h JOIN dcsh.scene s ON s.id = h.scene_id ORDER BY h.ordinality",
    )


def duplicates(archive: Archive, radius: int, filter: Filter) -> str:
    """Groups of chips that are nearly the same."""
    call = _call(
        "near_duplicates",
        archive=literal(archive.name),
        radius=literal(radius),
        **_filtered(archive, filter, "max_distance"),
    )
    return _rows(
        "d.group_id, d.id, d.distance, d.acquired, d.valid_fraction, d.scene_id, s.uri, "
        "d.geom::text AS geom",
        f"{call} d JOIN dcsh.scene s ON s.id = d.scene_id ORDER BY d.group_id, d.id",
    )


def change(
    archive: Archive,
    before: tuple[str | None, str | None],
    after: tuple[str | None, str | None],
    filter: Filter,
    k: int | None = None,
) -> str:
    """The places that changed between two periods, the most changed first."""
    periods = [f"tstzrange({literal(start)}, {literal(end)})" for start, end in (before, after)]
    call = _call(
        "change",
        archive=literal(archive.name),
        before=periods[0],
        after=periods[1],
        k=literal(k),
        **_filtered(archive, filter, "max_distance", "since", "until"),
    )
    return _rows(
        "c.id, c.distance, c.before_id, c.overlap, c.acquired, c.before_acquired, s.uri, "
        "b.uri AS before_uri, c.geom::text AS geom",
        f"{call} c JOIN dcsh.scene s ON s.id = c.scene_id JOIN dcsh.scene b ON b.id = c.before_scene_id "
        "ORDER BY c.distance DESC, c.id",
    )


def coverage(archive: Archive, cell: float | None, every: str | None, filter: Filter) -> str:
    """Where and when an archive has chips, on a grid."""
    call = _call(
        "coverage",
        archive=literal(archive.name),
        cell=literal(cell),
        every=literal(every),
        **_filtered(archive, filter, "max_distance"),
    )
    return _rows(
        "c.id, c.period, c.chips, c.scene_count, c.first_acquired, c.last_acquired, "
        "c.valid_fraction, c.geom::text AS geom",
        f"{call} c ORDER BY c.id",
    )


def surface(archive: Archive, query: Query, zoom: int, filter: Filter) -> str:
    """The least distance to the query in each cell of Web Mercator that has chips.

    Raises:
        InvalidInput: the query is a region, or has more than `MOST_CODES` examples.
    """
    if isinstance(query, CodeQuery):
        codes = [code(query.code, archive.bits)]
    elif isinstance(query, RegionQuery):
        raise InvalidInput("a similarity surface needs a chip, a code or marks, not a region")
    else:
        likes = query.likes if isinstance(query, ExamplesQuery) else (query.chip,)
        name = literal(archive.name)
        codes = [_call("code_of", archive=name, id=literal(chip)) for chip in likes]
    if len(codes) > MOST_CODES:
        raise InvalidInput(f"a similarity surface takes at most {MOST_CODES} chips")
    call = _call(
        "similarity_surface",
        archive=literal(archive.name),
        codes=f"ARRAY[{', '.join(codes)}]::bit varying[]",
        zoom=literal(zoom),
        **_filtered(archive, filter, "max_distance"),
    )
    return _rows("*", call)

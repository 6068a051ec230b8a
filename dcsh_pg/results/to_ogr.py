"""Rows as FlatGeobuf or GeoPackage, by geopandas and pyogrio (extra ``geo``)."""

from __future__ import annotations

import io
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

from dcsh_pg.files import replacing
from dcsh_pg.results.outputs import layer_output
from dcsh_pg.results.record import Table
from dcsh_pg.results.to_geopandas import frame_of


@layer_output("flatgeobuf", ".fgb", extra="geo")
def to_flatgeobuf(table: Table, path: Path) -> None:
    """Writes a FlatGeobuf file with its spatial index, which orders the features by place.

    The index takes no feature without footprint: where there is one the file has none, and the
    order of the rows.

    Raises:
        OutputError: the file cannot be written.
    """
    indexed = all(footprint is not None for footprint in table.footprints)
    _write(table, path, "FlatGeobuf", SPATIAL_INDEX="YES" if indexed else "NO")


@layer_output("geopackage", ".gpkg", extra="geo")
def to_geopackage(table: Table, path: Path) -> None:
    """Writes a GeoPackage with one layer that bears the name of the file.

    Of columns whose names differ only in case, which SQLite takes for one, the later get a number.

    Raises:
        OutputError: the file cannot be written.
    """
    _write(table, path, "GPKG", GEOMETRY_NAME="geometry")


def _write(table: Table, path: Path, driver: str, **layer_options: str) -> None:
    frame = frame_of(table)
    if driver == "GPKG":
        frame.columns = _apart(frame.columns)
    kinds = set(frame.geom_type.dropna()) or {"Polygon"}
    # In memory first: GDAL puts files of its own beside the one that it writes.
    content = io.BytesIO()
    frame.to_file(
        content,
        driver=driver,
        engine="pyogrio",
        index=False,
        layer=path.stem,
        geometry_type=kinds.pop() if len(kinds) == 1 else "Unknown",
        layer_options=layer_options,
    )
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _apart(names: Iterable[str]) -> list[str]:
    """Names that stay apart where case does not count: 'Class', 'class_2'."""
    given: dict[str, str] = {}
    for name in names:
        candidates = chain([name], (f"{name}_{n}" for n in count(2)))
        new = next(candidate for candidate in candidates if candidate.lower() not in given)
        given[new.lower()] = new
    return list(given.values())

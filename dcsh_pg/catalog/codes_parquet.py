"""The codes of an archive with their footprints as one GeoParquet 1.1 file (extra ``geo``).

Written a group of rows at a time, by pyarrow itself: geopandas would need all rows in memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import shapely

from dcsh_pg.catalog.geoemb import KEY
from dcsh_pg.database.archives.chip_batches import batches
from dcsh_pg.extras import require
from dcsh_pg.files import replacing

COLUMNS = (
    ("id", "int64", "Key of the chip in its archive"),
    ("uri", "string", "Path, URL or GDAL name of its scene"),
    ("collection", "string", "STAC collection of the scene"),
    ("item_id", "string", "STAC item of the scene"),
    ("col_off", "int32", "First column of its window in the scene, pixels"),
    ("row_off", "int32", "First row of its window in the scene, pixels"),
    ("width", "int32", "Width of its window, pixels"),
    ("height", "int32", "Height of its window, pixels"),
    ("acquired", "timestamp[us, tz=UTC]", "When the picture was taken"),
    ("valid_fraction", "float", "Share of its pixels that are valid"),
    (
        "code",
        "binary",
        "Hash code: bit k is 1 where value k is 0 or more; packed, most significant first",
    ),
    ("geometry", "binary", "Footprint, WKB, longitude and latitude"),
    ("bbox", "struct", "Bounds of the footprint: xmin, ymin, xmax, ymax"),
)
"""Name, type and meaning of each column."""

ROWS = 50_000
"""Rows that are in memory, and rows of a group in the file."""


def write_codes(
    conn: psycopg.Connection,
    archive_name: str,
    path: Path,
    bounds: list[float] | None,
    attributes: Mapping[str, Any],
) -> int:
    """Writes ``COLUMNS`` for every chip of an archive, by id; returns how many there were.

    Args:
        bounds: west, south, east, north of all footprints, or None where there are none.
        attributes: of :func:`dcsh_pg.catalog.geoemb.geoemb_attributes`.

    Raises:
        NotFound: no such archive.
        OutputError: the extra ``geo`` is not installed, or the file cannot be written.
    """
    require("geo", f"write {path}")
    import pyarrow
    from pyarrow import parquet

    corner = pyarrow.float64()
    box = pyarrow.struct([(name, corner) for name in _CORNERS])
    types = {
        "acquired": pyarrow.timestamp("us", tz="UTC"),
        "code": pyarrow.binary(),
        "geometry": pyarrow.binary(),
        "bbox": box,
    }
    schema = pyarrow.schema(
        [(name, types.get(name) or pyarrow.type_for_alias(type_)) for name, type_, _ in COLUMNS],
        metadata={"geo": json.dumps(_geo(bounds)), KEY: json.dumps(attributes)},
    )
    chips = 0
    # pyarrow takes some paths for addresses of object stores, but no opened file.
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        parquet.ParquetWriter(file, schema) as writer,
    ):
        for columns, footprints in batches(conn, archive_name, ROWS):
            corners = shapely.bounds(footprints).T
            box_of = pyarrow.StructArray.from_arrays(
                [pyarrow.array(values, from_pandas=True) for values in corners],
                fields=list(box),
                mask=pyarrow.array(np.isnan(corners[0])),
            )
            table = columns | {"geometry": shapely.to_wkb(footprints), "bbox": box_of}
            writer.write_table(pyarrow.table(table, schema=schema))
            chips += len(footprints)
    return chips


_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _geo(bounds: list[float] | None) -> dict[str, Any]:
    """The file's ``geo`` metadata; without a CRS it is longitude and latitude (OGC:CRS84)."""
    geometry = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "covering": {"bbox": {name: ["bbox", name] for name in _CORNERS}},
    }
    return {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": geometry | ({"bbox": bounds} if bounds else {})},
    }

"""Rows as GeoParquet 1.1, by geopandas and pyarrow (extra ``geo``)."""

from __future__ import annotations

from pathlib import Path

from dcsh_pg.files import replacing
from dcsh_pg.results.outputs import layer_output
from dcsh_pg.results.record import Table
from dcsh_pg.results.to_geopandas import frame_of


@layer_output("geoparquet", ".parquet", ".geoparquet", extra="geo")
def to_geoparquet(table: Table, path: Path) -> None:
    """Writes a row each: the columns, ``geometry`` (WKB, EPSG:4326) and its covering ``bbox``.

    Times are timestamps in UTC.

    Raises:
        OutputError: the file cannot be written.
    """
    # Only text repeats itself; and DuckDB 2.0 fails to filter by a bbox that has a dictionary.
    texts = [name for name, type_ in table.types.items() if type_ is str]
    # pyarrow takes some paths for addresses of object stores, but no opened file.
    with replacing(path) as temporary, temporary.open("wb") as file:
        frame_of(table).to_parquet(
            file,
            index=False,
            schema_version="1.1.0",
            write_covering_bbox=True,
            use_dictionary=texts,
        )

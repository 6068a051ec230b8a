"""Hits as GeoParquet 1.1, by geopandas (extra ``geo``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcsh_pg.errors import OutputError
from dcsh_pg.files import replacing
from dcsh_pg.results.record import FIELDS, columns, geometry, records

if TYPE_CHECKING:
    from dcsh_pg.database.search import Hit

_TYPES = dict.fromkeys(FIELDS, "int64") | {
    "uri": "string",
    "acquired": "datetime64[us, UTC]",
    "valid_fraction": "float64",
}


def check_geopandas(path: Path | str) -> None:
    """Raises the OutputError for ``path`` where geopandas or pyarrow is not installed."""
    try:
        import geopandas  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise OutputError(
            f"cannot write {path}: {error.name} is not installed",
            hint="pip install 'dcsh-pg[geo]'",
        ) from error


def to_geoparquet(hits: Sequence[Hit], path: Path | str) -> None:
    """Writes one row a hit: the flat fields, ``geometry`` (WKB, EPSG:4326) and its ``bbox`` column.

    ``acquired`` is a timestamp in UTC.  A property whose type differs between scenes becomes text.

    Raises:
        OutputError: geopandas or pyarrow is not installed, or the file cannot be written.
    """
    check_geopandas(path)
    import geopandas
    import pandas

    table = columns(records(hits))
    table["acquired"] = pandas.to_datetime(table["acquired"], utc=True, format="ISO8601")
    frame = geopandas.GeoDataFrame(
        {
            name: _one_type(values) if name not in FIELDS else values
            for name, values in table.items()
        },
        geometry=geopandas.GeoSeries([geometry(hit) for hit in hits], crs="EPSG:4326"),
    ).astype(_TYPES)
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False, schema_version="1.1.0", write_covering_bbox=True)


def _one_type(values: list[Any]) -> list[Any]:
    types = {type(value) for value in values if value is not None}
    if len(types) <= 1 or types == {int, float}:
        return values
    return [None if value is None else str(value) for value in values]

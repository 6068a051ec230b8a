"""Rows as a GeoDataFrame, by geopandas (extra ``geo``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcsh_pg.extras import require
from dcsh_pg.results.record import Table

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from shapely.geometry.base import BaseGeometry

    from dcsh_pg.database.search.hits import Hit

_DTYPES = {
    bool: ("bool", "boolean"),
    int: ("int64", "Int64"),
    float: ("float64", "float64"),
    str: ("string", "string"),
}


def to_geopandas(hits: Sequence[Hit]) -> GeoDataFrame:
    """A search's hits, nearest first, as a GeoDataFrame in EPSG:4326 with the chips' ids as index.

    Columns: ``rank``, ``distance`` (bits), ``pair_share`` (share of random pairs that are as near),
    ``scene_id``, ``uri``, ``collection``, ``item_id``, ``acquired`` (UTC), the window in pixels, ``valid_fraction``, the scene's properties, and ``geometry``, None where there is none.

    Raises:
        OutputError: the extra ``geo`` is not installed.
    """
    return frame_of(Table.of_hits(hits)).set_index("id")


def frame_of(table: Table) -> GeoDataFrame:
    """The columns of any table and ``geometry``, as :func:`geo_frame`."""
    return geo_frame(table.columns, table.types, table.footprints)


def geo_frame(
    columns: Mapping[str, Sequence[Any]],
    types: Mapping[str, type],
    footprints: Iterable[BaseGeometry | None],
) -> GeoDataFrame:
    """Columns and ``geometry``, EPSG:4326, with a dtype for each of the types int, float, bool, str
    and datetime.

    An integer column with gaps is ``Int64``, one of truth values ``boolean``; times are
    ``datetime64[us, UTC]``.

    Raises:
        OutputError: the extra ``geo`` is not installed.
    """
    require("geo", "make a GeoDataFrame")
    import geopandas
    import pandas

    series = {}
    for name, values in columns.items():
        if types[name] in _DTYPES:
            whole, gapped = _DTYPES[types[name]]
            series[name] = pandas.Series(values, dtype=gapped if None in values else whole)
        else:
            times = pandas.Series(pandas.to_datetime(values, utc=True))
            series[name] = times.astype("datetime64[us, UTC]")
    geometry = geopandas.GeoSeries(list(footprints), crs="EPSG:4326")
    return geopandas.GeoDataFrame(series, geometry=geometry)

"""Rows as a GeoDataFrame, by geopandas (extra ``geo``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dcsh_pg.errors import OutputError
from dcsh_pg.results.record import Table

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from dcsh_pg.database.search import Hit

_DTYPES = {
    bool: ("bool", "boolean"),
    int: ("int64", "Int64"),
    float: ("float64", "float64"),
    str: ("str", "str"),
}


def check_geopandas(what: str, *libraries: str) -> None:
    """Raises the OutputError for ``what`` where geopandas or one of ``libraries`` is missing."""
    from importlib import import_module

    for library in ("geopandas", *libraries):
        try:
            import_module(library)
        except ImportError as error:
            raise OutputError(
                f"cannot {what}: {error.name} is not installed",
                hint="pip install 'dcsh-pg[geo]'",
            ) from error


def to_geopandas(hits: Sequence[Hit]) -> GeoDataFrame:
    """A search's hits, nearest first, as a GeoDataFrame in EPSG:4326 with the chips' ids as index.

    Columns: ``rank``, ``distance`` (bits), ``scene_id``, ``uri``, ``acquired`` (UTC), the window in
    pixels, ``valid_fraction``, the scene's properties, and ``geometry``, None where there is none.

    Raises:
        OutputError: geopandas is not installed.
    """
    return geo_frame(Table.of_hits(hits)).set_index("id")


def geo_frame(table: Table) -> GeoDataFrame:
    """The columns of any table and ``geometry``, EPSG:4326, with a dtype for each type of column.

    An integer column with gaps is ``Int64``, one of truth values ``boolean``; times are
    ``datetime64[us, UTC]``.

    Raises:
        OutputError: geopandas is not installed.
    """
    check_geopandas("make a GeoDataFrame")
    import geopandas
    import pandas

    series = {}
    for name, values in table.columns.items():
        if table.types[name] in _DTYPES:
            whole, gapped = _DTYPES[table.types[name]]
            series[name] = pandas.Series(values, dtype=gapped if None in values else whole)
        else:
            times = pandas.Series(pandas.to_datetime(values, utc=True))
            series[name] = times.astype("datetime64[us, UTC]")
    geometry = geopandas.GeoSeries(table.footprints, crs="EPSG:4326")
    return geopandas.GeoDataFrame(series, geometry=geometry)

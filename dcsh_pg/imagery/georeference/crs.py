"""From any coordinate reference system to longitude and latitude in EPSG:4326."""

from __future__ import annotations

import threading

import numpy as np
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError

from dcsh_pg.errors import InputError

GEOD = Geod(ellps="WGS84")
_local = threading.local()


def to_lonlat(wkt: str, x: np.ndarray, y: np.ndarray, *, uri: str) -> tuple[np.ndarray, np.ndarray]:
    """CRS coordinates -> longitudes and latitudes in EPSG:4326; infinite outside the CRS's domain.

    Raises:
        InputError: the CRS cannot be transformed to EPSG:4326; names ``uri``.
    """
    try:
        transformer, pole = _transformer(wkt)
        return transformer.transform(x, y if pole is None else np.clip(y, -pole, pole))
    except (ProjError, CRSError):
        raise InputError(
            f"{uri} {_why_not(wkt)}", hint="give --no-georeference to ingest it without a footprint"
        ) from None


def proj_code(wkt: str) -> str | None:
    """'EPSG:26913', or None for a CRS without a code."""
    authority = CRS.from_wkt(wkt).to_authority()
    return ":".join(authority) if authority else None


def _transformer(wkt: str) -> tuple[Transformer, float | None]:
    """Transformer to EPSG:4326 in (lon, lat) order, and a pole's y in a geographic CRS.

    One per thread, because PROJ's are not thread-safe.
    """
    known: dict[str, tuple[Transformer, float | None]]
    known = _local.__dict__.setdefault("transformers", {})
    if wkt not in known:
        crs = CRS.from_wkt(wkt)
        # Pixels centred on a pole reach half a pixel beyond it.
        pole = np.pi / 2 / crs.axis_info[0].unit_conversion_factor if crs.is_geographic else None
        known[wkt] = Transformer.from_crs(crs, "EPSG:4326", always_xy=True), pole
    return known[wkt]


def _why_not(wkt: str) -> str:
    """Why the CRS cannot be transformed to EPSG:4326."""
    try:
        crs = CRS.from_wkt(wkt)
        size = crs.ellipsoid.semi_major_metre if crs.ellipsoid else None
    except CRSError:
        return "has a coordinate reference system that PROJ cannot read"
    if size and abs(size / GEOD.a - 1) > 0.01:
        return f"is not on Earth: its coordinate reference system is '{crs.name}'"
    return (
        f"has a coordinate reference system that cannot be transformed to EPSG:4326: '{crs.name}'"
    )

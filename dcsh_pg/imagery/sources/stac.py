"""STAC items as scenes: their assets and metadata."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pystac
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio import Affine
from shapely.geometry import Polygon, shape
from shapely.geometry.polygon import orient

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.georeference.affine import Frame
from dcsh_pg.imagery.metadata.image import ImageMetadata
from dcsh_pg.imagery.parts import parts_address
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.listed import Listed
from dcsh_pg.imagery.sources.stac_bands import bands_of, href_of
from dcsh_pg.imagery.sources.stac_items import FoundItem, find_items, malformed
from dcsh_pg.progress import SILENT, Progress

DEFAULT_ASSET = "visual"
"""Read from an item with several data assets."""


def stac_listing(
    source: str,
    *,
    asset: str | None = None,
    collection: str | None = None,
    reading: Reading | None = None,
    progress: Progress = SILENT,
) -> Iterator[Listed]:
    """One entry for each item of a source, for :func:`dcsh_pg.imagery.sources.listed.listed_scenes`.

    Args:
        source: file, folder or URL, see :func:`dcsh_pg.imagery.sources.stac_items.find_items`.
        asset: key of the asset to read.  None takes the only one with the role 'data', else
            'visual', else the only image with that role.
        collection: only the items of the collection with that id.
        reading: its bands that are names, and its mask, are looked up among the assets.

    Raises:
        InputError: the source as a whole cannot be read or is not STAC, or has no such item.
    """
    for found in find_items(source, collection=collection, progress=progress):
        if found.item is None:
            yield Listed(found.address, error=found.error)
            continue
        try:
            yield _entry(found, found.item, asset, reading)
        except InputError as error:
            yield Listed(found.address, error=error)
        except Exception as error:
            # pystac checks little: a field may have any type.
            yield Listed(found.address, error=malformed(found.address, error))


def _entry(found: FoundItem, item: pystac.Item, key: str | None, reading: Reading | None) -> Listed:
    found_bands = reading and bands_of(item, key, reading, address=found.address)
    if found_bands:
        asset = found_bands[0].asset
        uri = parts_address([band.part(found.base, found.address) for band in found_bands])
    else:
        asset = _chosen(item, key, found.address)
        uri = href_of(asset, found.base, found.address)
    # The fields of an asset override those of its item.
    fields = item.properties | {
        name: value
        for name, value in asset.extra_fields.items()
        if name == "gsd" or name.startswith("proj:")
    }
    metadata = ImageMetadata(
        where=found.address,
        footprint=_footprint(item.geometry),
        acquired=_acquired(item),
        properties=fields,
        frame=_frame(fields),
        collection=item.collection_id,
        item_id=item.id,
    )
    name = "/".join(filter(None, (item.collection_id, item.id, uri.rpartition("/")[2])))
    return Listed(found.address, uri, name, metadata)


def _chosen(item: pystac.Item, key: str | None, address: str) -> pystac.Asset:
    assets = item.assets
    if key is not None:
        if key not in assets:
            raise InputError(
                f"{address} has no asset '{key}'",
                hint=f"its assets are {_with_roles(assets)}" if assets else "it has no assets",
            )
        return assets[key]
    data = [name for name, asset in assets.items() if "data" in (asset.roles or ())]
    images = [name for name in data or assets if (assets[name].media_type or "")[:6] == "image/"]
    if len(data) == 1:
        return assets[data[0]]
    if DEFAULT_ASSET in assets:
        return assets[DEFAULT_ASSET]
    if data and len(images) == 1:
        return assets[images[0]]
    if len(assets) == 1:
        return next(iter(assets.values()))
    raise InputError(
        f"{address} has no asset to read by default",
        hint=f"choose one with --asset: {_with_roles(assets)}" if assets else "it has no assets",
    )


def _with_roles(assets: dict[str, pystac.Asset]) -> str:
    """Names of assets with their roles, 'visual (visual), B04 (data), ...'."""
    return ", ".join(
        f"{name} ({' '.join(asset.roles)})" if asset.roles else name
        for name, asset in assets.items()
    )


def _acquired(item: pystac.Item) -> datetime | None:
    time = item.datetime or item.common_metadata.start_datetime
    if time is None:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)


def _footprint(geometry: dict[str, Any] | None) -> Polygon | None:
    """The geometry of an item if it is one polygon, else None."""
    try:
        parts = shapely.get_parts(shapely.force_2d(shape(geometry or {}))).tolist()
    except Exception:
        return None
    if len(parts) != 1 or not isinstance(parts[0], Polygon) or not parts[0].is_valid:
        return None
    return orient(Polygon(parts[0].exterior))


def _frame(fields: dict[str, Any]) -> Frame | None:
    """The frame of the image, if the fields of the projection extension give it."""
    crs = next((fields[name] for name in _CRS_FIELDS if fields.get(name)), None)
    transform, size, box = (fields.get(f"proj:{name}") for name in ("transform", "shape", "bbox"))
    if crs is None:
        return None
    try:
        wkt = CRS.from_user_input(crs).to_wkt()
        if transform and size:
            return Frame.of_raster(wkt, Affine(*transform[:6]), int(size[1]), int(size[0]))
        if not box:
            return None
        dimensions = len(box) // 2
        west, south, east, north = map(float, box[:2] + box[dimensions : dimensions + 2])
        return Frame.of_bounds(wkt, (west, south, east, north))
    except (CRSError, TypeError, ValueError, IndexError):
        return None


_CRS_FIELDS = ("proj:code", "proj:epsg", "proj:wkt2", "proj:projjson")

"""An archive as a STAC collection, its codes as an item, with fields of the embedding extension.

The extension (``emb:``) is a proposal, v0.0.1.  Its fields are written as it has them, but its address
is not among the ``stac_extensions``: the draft of its schema refuses all but STAC 1.0.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import pystac
from pystac.extensions.file import FileExtension
from pystac.extensions.table import Column, TableExtension

from dcsh_pg.catalog.codes_parquet import COLUMNS
from dcsh_pg.catalog.geoemb import QUANTIZATION
from dcsh_pg.catalog.stac_model import EARTH, band_names, multihash, rectangle
from dcsh_pg.database.archives.registry import ArchiveRecord

PARQUET = "application/vnd.apache.parquet"
"""Media type of GeoParquet."""

CODES = "embeddings"
"""Key of the asset that holds the codes; the embedding extension asks for this one."""

CODES_ASSETS = {CODES: {"title": "Codes and footprints", "type": PARQUET, "roles": ["data"]}}
"""Assets of the collection's items."""


def archive_collection(
    record: ArchiveRecord,
    extent: dict[str, Any],
    summaries: dict[str, Any],
    *,
    license: str = "other",
    source_data: Sequence[str] = (),
) -> pystac.Collection:
    """The archive as a collection, without its model and items.

    Args:
        record: the archive.
        extent: its ``bounds`` and ``acquired``, see :func:`dcsh_pg.database.archives.registry.extent`.
        summaries: of the properties of its scenes.
        license: SPDX identifier of the imagery's license, or 'other'.
        source_data: addresses of the collections that the scenes are from.
    """
    first, last = _interval(extent)
    collection = pystac.Collection(
        id=record.name,
        title=f"{record.name}: hash codes of imagery",
        description=(
            f"Hash codes of {record.bits} bits for {record.chips} chips of {record.scenes} scenes, "
            f"made by the model {record.card.name} ({record.card.method}). Chips that look alike "
            "have codes of small Hamming distance."
        ),
        license=license,
        extent=pystac.Extent(
            pystac.SpatialExtent([extent["bounds"] or EARTH]),
            pystac.TemporalExtent([[first, last]]),
        ),
        summaries=pystac.Summaries(summaries),
        extra_fields={
            "emb:type": "chip",
            "emb:dimensions": record.bits,
            "data_type": "other",
            "emb:chip_layout": _chip_layout(record.reading),
            "emb:fit_for_use": ["retrieval"],
        },
    )
    collection.add_links(_source_links(source_data))
    return collection


def codes_item(
    record: ArchiveRecord,
    extent: dict[str, Any],
    chips: int,
    *,
    href: str,
    size: int,
    sha256: str,
    source_data: Sequence[str] = (),
) -> pystac.Item:
    """All codes of the archive as one item, its GeoParquet the asset ``embeddings``.

    Args:
        record, extent, source_data: as for :func:`archive_collection`.
        chips: how many codes the GeoParquet has.
        href: where the GeoParquet is found.
        size: of it in bytes.
        sha256: of it, hexadecimal.
    """
    first, last = _interval(extent)
    bounds = extent["bounds"]
    item = pystac.Item(
        id=f"{record.name}-codes",
        geometry=bounds and rectangle(bounds),
        bbox=bounds,
        datetime=None if first else record.created.astimezone(timezone.utc),
        start_datetime=first,
        end_datetime=last,
        collection=record.name,
        properties={
            "title": f"{chips} codes of {record.bits} bits with their footprints",
            "created": pystac.utils.datetime_to_str(record.created),
            "emb:runtime_parameters": _runtime_parameters(record),
            "emb:quantization": QUANTIZATION,
        },
    )
    asset = pystac.Asset.from_dict(CODES_ASSETS[CODES] | {"href": href})
    item.add_asset(CODES, asset)
    FileExtension.ext(asset, add_if_missing=True).apply(size=size, checksum=multihash(sha256))
    table = TableExtension.ext(item, add_if_missing=True)
    table.row_count = chips
    table.primary_geometry = "geometry"
    table.columns = [
        Column({"name": name, "type": type_, "description": description})
        for name, type_, description in COLUMNS
    ]
    item.add_links(_source_links(source_data))
    return item


def _interval(extent: dict[str, Any]) -> tuple[datetime | None, datetime | None]:
    times = extent["acquired"] or (None, None)
    first, last = (time and datetime.fromisoformat(time) for time in times)
    return first, last


def _chip_layout(reading: dict[str, Any]) -> dict[str, Any]:
    """The grid in the pixels of each scene; scenes taken whole have none."""
    size = reading.get("chip_size")
    if size is None:
        return {"layout_type": "variable_grid"}
    stride = reading.get("stride") or size
    return {
        "layout_type": "regular_grid",
        "chip_size": [size, size],
        "stride": [stride, stride],
    }


def _runtime_parameters(record: ArchiveRecord) -> dict[str, Any]:
    reading = {name: value for name, value in record.reading.items() if value is not None}
    return (
        reading
        if record.card.takes_vectors
        else reading | {"channels": band_names(record.card.bands)}
    )


def _source_links(source_data: Sequence[str]) -> list[pystac.Link]:
    return [
        pystac.Link(
            "emb:source-data", href, pystac.MediaType.JSON, "Imagery that the codes were made from"
        )
        for href in source_data
    ]

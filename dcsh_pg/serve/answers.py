"""Hits and archives as JSON.  No answer has a path or an address of this machine."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from dcsh_pg.database.search.hits import Hit
from dcsh_pg.results.record import iso, scene_name

THUMBNAIL_SIDE = 256
"""Longest side of a thumbnail in pixels."""


def without_path(hit: Hit) -> Hit:
    """The hit with the name of its scene instead of its path or address."""
    return replace(hit, uri=scene_name(hit.uri))


def feature(hit: Hit, rank: int | None = None) -> dict[str, Any]:
    """A hit as a GeoJSON feature; ``thumbnail`` is relative to the archive's address."""
    col_off, row_off, width, height = hit.window
    properties = {
        "rank": rank,
        "distance": hit.distance,
        "pair_share": hit.pair_share,
        "scene": scene_name(hit.uri),
        "scene_id": hit.scene_id,
        "acquired": iso(hit.acquired) if hit.acquired else None,
        "col_off": col_off,
        "row_off": row_off,
        "width": width,
        "height": height,
        "valid_fraction": hit.valid_fraction,
        "collection": hit.collection,
        "item_id": hit.item_id,
        "thumbnail": f"chips/{hit.id}/thumbnail",
    }
    return {"type": "Feature", "id": hit.id, "geometry": hit.footprint, "properties": properties}


def collection(hits: Sequence[Hit]) -> dict[str, Any]:
    """Hits as a GeoJSON feature collection in their order."""
    features = [feature(hit, rank) for rank, hit in enumerate(hits, start=1)]
    return {"type": "FeatureCollection", "features": features}


def thumbnail(pixels: np.ndarray) -> bytes:
    """A chip, uint8 (H, W, C), as WebP: the first three bands, or the first as grey."""
    shown = pixels[..., :3] if pixels.shape[-1] > 2 else pixels[..., 0]
    image = Image.fromarray(np.ascontiguousarray(shown))
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return encoded(image, "WEBP", quality=88)


def tile_image(pixels: np.ndarray, valid: np.ndarray) -> bytes:
    """A map tile, uint8 (H, W, C) and bool (H, W), as WebP, transparent where invalid."""
    shown = pixels[..., :3] if pixels.shape[-1] > 2 else np.repeat(pixels[..., :1], 3, axis=-1)
    alpha = np.where(valid, np.uint8(255), np.uint8(0))[..., None]
    return encoded(Image.fromarray(np.concatenate([shown, alpha], axis=-1)), "WEBP", quality=85)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()

"""Hits as HTML for notebooks: the query and each hit with its picture, distance, place and date."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from dcsh_pg.results.record import scene_name
from dcsh_pg.results.sheet import caption_of, pixels_or_reason, to_rgb

if TYPE_CHECKING:
    from dcsh_pg.database.search.hits import Hit
    from dcsh_pg.database.search.query import Query
    from dcsh_pg.results.outputs import ReadChip

MAX_HITS = 12
"""Pictures of hits beyond these are not read; the heading has their number."""

SIDE = 120
"""Pixels of the longer side of a picture."""

_FIGURE = (
    "display:inline-block;vertical-align:top;margin:0 10px 12px 0;font-size:11px;line-height:1.4"
)
_TILE = f"width:{SIDE}px;height:{SIDE}px"
_REASON = f"{_TILE};overflow:hidden;box-sizing:border-box;padding:6px;border:1px solid #aaa"
_CLIPPED = f"max-width:{SIDE + 12}px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap"


def hits_html(
    hits: Sequence[Hit], *, heading: str, read_chip: ReadChip, query: Query | None = None
) -> str:
    """HTML with nothing to load: pictures are data URIs.  All text is escaped.

    Args:
        hits: in the order of the search; the first ``MAX_HITS`` are shown.
        heading: a line above all.
        read_chip: the pixels of a hit, uint8 (H, W, C); where it raises a DcshError or OSError, its
            message is shown instead.
        query: shown first if it has pixels.
    """
    figures = []
    if query is not None and query.pixels is not None:
        figures.append(_figure(query.pixels, ["query", query.caption], query.caption))
    for hit in hits[:MAX_HITS]:
        lines = caption_of(hit)
        name = f"chip {hit.id} of {scene_name(hit.uri)}"
        figures.append(_figure(pixels_or_reason(read_chip, hit), [*lines, f"chip {hit.id}"], name))
    more = len(hits) - MAX_HITS
    after = f"<p>and {more} more</p>" if more > 0 else ""
    return f"<div><p>{escape(heading)}</p>{''.join(figures)}{after}</div>"


def _figure(content: np.ndarray | str, lines: Iterable[str], name: str) -> str:
    if isinstance(content, str):
        tile = f'<div style="{_REASON}">{escape(content)}</div>'
    else:
        alt = escape(name, quote=True)
        tile = f'<img src="{_data_uri(content)}" alt="{alt}" title="{alt}">'
        tile = f'<div style="{_TILE}">{tile}</div>'
    texts = "".join(f'<div style="{_CLIPPED}">{escape(line)}</div>' for line in lines)
    return f'<div style="{_FIGURE}">{tile}{texts}</div>'


def _data_uri(pixels: np.ndarray) -> str:
    image = ImageOps.contain(to_rgb(pixels), (SIDE, SIDE), Image.Resampling.LANCZOS)
    jpeg = io.BytesIO()  # a tenth of a PNG's bytes, which notebooks keep
    image.save(jpeg, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()

"""Hits as one picture: the query on the left, the hits in a grid on the right."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from dcsh_pg.errors import DcshError
from dcsh_pg.files import replacing
from dcsh_pg.results.record import place, scene_name, utc

if TYPE_CHECKING:
    from dcsh_pg.database.search.hits import Hit
    from dcsh_pg.results.outputs import Picture, ReadChip

MAX_HITS = 100
"""Hits beyond these are not drawn; the heading has their number."""

TILE, QUERY = 208, 320
MARGIN, GAP, GUTTER = 36, 18, 32
TITLE_SIZE, HEADING_SIZE, TEXT_SIZE = 24, 14, 14
TITLE_HEIGHT, HEADING_HEIGHT, LINE_HEIGHT, CAPTION_GAP = 48, 28, 20, 9

PAPER, INK, GREY, HAIRLINE, EMPTY = "#ffffff", "#1d1f24", "#6c727d", "#dcdfe4", "#eceef1"


def contact_sheet(
    hits: Sequence[Hit], path: Path | str, picture: Picture, read_chip: ReadChip
) -> None:
    """Draws query and hits into a PNG; under each hit its rank, distance, place and date.

    Of more than two bands the first three are shown, of fewer the first as grey.  Where ``read_chip``
    raises a DcshError or OSError, for example because a source file is gone, the tile is grey and
    shows the reason.

    Args:
        hits: in the order of the search; the first ``MAX_HITS`` are drawn.
        path: the PNG to write.
        picture: its title and query; a query without pixels is not drawn.

    Raises:
        OutputError: the file cannot be written.
    """
    title, query_pixels = picture.title, picture.query.pixels if picture.query else None
    query_caption = (picture.query.caption,) if picture.query else ()
    shown = hits[:MAX_HITS]
    captions = [caption_of(hit) for hit in shown]
    cell_height = TILE + CAPTION_GAP + LINE_HEIGHT * max(map(len, captions), default=0)
    columns = _columns(len(shown))
    rows = -(-len(shown) // columns)

    top = MARGIN + (TITLE_HEIGHT if title else 0)
    left = MARGIN + (0 if query_pixels is None else QUERY + 2 * GUTTER)
    grid_height = rows * (cell_height + GAP) - GAP if shown else 0
    query_height = (
        0 if query_pixels is None else QUERY + CAPTION_GAP + LINE_HEIGHT * len(query_caption)
    )
    width = left + columns * (TILE + GAP) - GAP + MARGIN
    height = top + HEADING_HEIGHT + max(grid_height, query_height) + MARGIN

    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        _line(draw, (MARGIN, MARGIN - 4), title, TITLE_SIZE, INK, width - 2 * MARGIN)
    if query_pixels is not None:
        _line(draw, (MARGIN, top), "Query", HEADING_SIZE, GREY, QUERY)
        _tile(sheet, (MARGIN, top + HEADING_HEIGHT), QUERY, query_pixels)
        at = (MARGIN, top + HEADING_HEIGHT + QUERY + CAPTION_GAP)
        _lines(draw, at, query_caption, QUERY)
        rule = left - GUTTER
        draw.line((rule, top, rule, height - MARGIN), fill=HAIRLINE)
    _line(draw, (left, top), _heading(len(shown), len(hits)), HEADING_SIZE, GREY, width - left)
    for number, (hit, caption) in enumerate(zip(shown, captions, strict=True)):
        row, column = divmod(number, columns)
        x, y = left + column * (TILE + GAP), top + HEADING_HEIGHT + row * (cell_height + GAP)
        _tile(sheet, (x, y), TILE, pixels_or_reason(read_chip, hit))
        _lines(draw, (x, y + TILE + CAPTION_GAP), caption, TILE)
        at = (x + TILE, y + TILE + CAPTION_GAP)
        draw.text(at, str(number + 1), font=_font(TEXT_SIZE), fill=GREY, anchor="ra")
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


def _heading(shown: int, found: int) -> str:
    if found == 0:
        return "No hits"
    if shown < found:
        return f"The {shown} nearest of {found} hits, nearest first"
    return f"{found} hits, nearest first" if found > 1 else "1 hit"


def caption_of(hit: Hit) -> list[str]:
    lines = [f"distance {hit.distance}", place(hit.footprint) or scene_name(hit.uri)]
    return [*lines, f"{utc(hit.acquired):%Y-%m-%d}"] if hit.acquired else lines


def _columns(hits: int) -> int:
    """Columns of the grid: one row for up to five hits, else those that leave the fewest gaps."""
    if hits <= 5:
        return max(hits, 1)
    return min((5, 4, 6), key=lambda columns: -hits % columns)


def pixels_or_reason(read_chip: ReadChip, hit: Hit) -> np.ndarray | str:
    try:
        pixels = read_chip(hit)
    except DcshError as error:
        return error.message
    except OSError as error:
        return f"{error.strerror or error}"
    return "no picture" if pixels is None else pixels


def _tile(sheet: Image.Image, at: tuple[int, int], size: int, content: np.ndarray | str) -> None:
    x, y = at
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((x, y, x + size - 1, y + size - 1), fill=EMPTY)
    if isinstance(content, str):
        lines = _wrap(content, size - 24)
        start = y + (size - LINE_HEIGHT * len(lines)) // 2
        _lines(draw, (x + 12, start), lines, size - 24, first=GREY)
        return
    image = ImageOps.contain(to_rgb(content), (size, size), Image.Resampling.LANCZOS)
    sheet.paste(image, (x + (size - image.width) // 2, y + (size - image.height) // 2))


def to_rgb(pixels: np.ndarray) -> Image.Image:
    pixels = np.atleast_3d(np.asarray(pixels, np.uint8))
    if pixels.shape[2] < 3:
        pixels = pixels[:, :, :1].repeat(3, axis=2)
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, :3]))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _drawable(text: str) -> str:
    """The text in the letters that pillow's own font has: ASCII, '°' and '…'."""
    decomposed = unicodedata.normalize("NFKD", text.replace("°", "\0").replace("…", "\1"))
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    ascii_only = plain.encode("ascii", "replace").decode()
    return ascii_only.replace("\0", "°").replace("\1", "…")


def _fit(text: str, size: int, width: int) -> str:
    """The text, its middle cut out where it is wider than ``width`` pixels."""
    text, font = _drawable(text), _font(size)
    kept = len(text)
    fitted = text
    while font.getlength(fitted) > width and kept > 1:
        kept -= 1
        fitted = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    return fitted


def _wrap(text: str, width: int) -> list[str]:
    """The text in at most five lines of ``width`` pixels, broken between words."""
    font, lines = _font(TEXT_SIZE), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(_drawable(longer)) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines[:5]


def _line(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, fill: str, width: int
) -> None:
    draw.text(at, _fit(text, size, width), font=_font(size), fill=fill)


def _lines(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    texts: Sequence[str],
    width: int,
    *,
    first: str = INK,
) -> None:
    x, y = at
    for number, text in enumerate(texts):
        fill = first if number == 0 else GREY
        _line(draw, (x, y + number * LINE_HEIGHT), text, TEXT_SIZE, fill, width)

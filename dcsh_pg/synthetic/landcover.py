"""Ten kinds of land cover seen from above, about 0.6 m per pixel.

A painter takes a generator, a side length and a season (0 spring, 1 late summer) and returns float32
(side, side, 3), red, green, blue in 0..255.  With the same generator state the shapes are the same
in both seasons; only colours and parked cars differ.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

Painter = Callable[[np.random.Generator, int, int], np.ndarray]

SUN = np.array([-0.7, -0.7], np.float32)
"""Towards the sun, in columns and rows: the north-west."""

_ROOFS = [(176, 98, 72), (160, 84, 64), (188, 116, 88), (150, 142, 134), (206, 200, 190)]
_CARS = [
    (232, 232, 232),
    (200, 202, 205),
    (40, 42, 46),
    (150, 30, 28),
    (38, 62, 120),
    (120, 122, 126),
]
_LEAVES = np.array([[70, 96, 44], [84, 104, 50], [56, 84, 40]], np.float32)


def noise(rng: np.random.Generator, side: int, cell: float) -> np.ndarray:
    """Smooth noise float32 (side, side) of mean 0 and spread about 1, ``cell`` pixels a lump."""
    count = int(np.ceil(side / cell)) + 3
    grid = Image.fromarray(rng.standard_normal((count, count), dtype=np.float32))
    whole = int(count * cell)
    return np.asarray(grid.resize((whole, whole), Image.Resampling.BICUBIC))[:side, :side] * 1.4


def _lumps(rng: np.random.Generator, side: int) -> np.ndarray:
    return 0.6 * noise(rng, side, 60) + 0.4 * noise(rng, side, 18) + 0.25 * noise(rng, side, 5)


def _paint(colour: tuple[int, int, int] | np.ndarray, light: np.ndarray) -> np.ndarray:
    """A colour (3,) or colours (side, side, 3), brightened by ``light`` (side, side)."""
    lit: np.ndarray = np.asarray(colour, np.float32) * (1 + light[..., None])
    return lit


def _mix(below: np.ndarray, above: np.ndarray, share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0, 1)[..., None]
    mixed: np.ndarray = below * (1 - share) + above * share
    return mixed


def _turned(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates about the middle, turned by a random angle."""
    angle = rng.uniform(0, np.pi)
    rows, columns = np.mgrid[:side, :side].astype(np.float32) - side / 2
    return (
        columns * np.cos(angle) + rows * np.sin(angle),
        rows * np.cos(angle) - columns * np.sin(angle),
    )


def _crowns(
    rng: np.random.Generator,
    u: np.ndarray,
    v: np.ndarray,
    spacing: float,
    *,
    jitter: float,
    radius: tuple[float, float],
    density: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Tree crowns, one in each cell of a jittered grid over the coordinates (u, v).

    Returns:
        height float32 (side, side) in pixels, 0 on the ground, and a random number in 0..1 for
        each crown, spread over its pixels.
    """
    cell_u, cell_v = np.floor(u / spacing).astype(np.int32), np.floor(v / spacing).astype(np.int32)
    first_u, first_v = cell_u.min() - 1, cell_v.min() - 1
    shape = (cell_u.max() + 2 - first_u, cell_v.max() + 2 - first_v)
    middle = np.mgrid[: shape[0], : shape[1]] + 0.5 + rng.uniform(-jitter, jitter, (2, *shape)) / 2
    middle = (middle + np.array([first_u, first_v])[:, None, None]) * spacing
    centre_u, centre_v = middle.reshape(2, -1).astype(np.float32)
    squared = ((rng.uniform(*radius, shape) * (rng.random(shape) < density)) ** 2).ravel()
    squared = squared.astype(np.float32)
    tint = rng.random(squared.shape, dtype=np.float32)
    cell = (cell_u - first_u) * shape[1] + cell_v - first_v
    height, tints = np.zeros(u.shape, np.float32), np.zeros(u.shape, np.float32)
    for step_u in (-1, 0, 1):
        for step_v in (-1, 0, 1):
            near = cell + (step_u * shape[1] + step_v)
            rise = squared[near] - (u - centre_u[near]) ** 2 - (v - centre_v[near]) ** 2
            higher = rise > height
            height[higher] = rise[higher]
            tints[higher] = tint[near[higher]]
    np.sqrt(height, out=height)
    return height, tints


def _shade(height: np.ndarray, strength: float) -> np.ndarray:
    """Light on a surface whose ``height`` is in pixels."""
    down, right = np.gradient(height)
    light: np.ndarray = np.clip(-strength * (right * SUN[0] + down * SUN[1]), -0.55, 0.45)
    return light


def _plant(
    ground: np.ndarray, height: np.ndarray, tints: np.ndarray, leaves: np.ndarray, grain: np.ndarray
) -> np.ndarray:
    """Sets crowns, with their shadows, on the ground."""
    shadow = np.roll(height, (4, 4), axis=(0, 1)) > 1
    ground = _mix(ground, ground * 0.45, shadow & (height == 0))
    colour = leaves[(tints * len(leaves)).astype(int) % len(leaves)]
    crowns = _paint(colour, _shade(height, 0.28) + 0.35 * (tints - 0.5) + 0.1 * grain)
    return _mix(ground, crowns, np.minimum(height / 2, 1))


def water(rng: np.random.Generator, side: int, season: int) -> np.ndarray:
    u, v = _turned(rng, side)
    waves = (
        rng.uniform(0.01, 0.09)
        * np.sin(u / 2.6 + 2 * noise(rng, side, 40))
        * (1 + noise(rng, side, 30))
    )
    light = waves + 0.10 * noise(rng, side, 90) + 0.02 * noise(rng, side, 3) + v / side * 0.1
    return _paint([(34, 66, 84), (30, 78, 92)][season], light)


def sand(rng: np.random.Generator, side: int, season: int) -> np.ndarray:
    """Bare dunes with ripples and a few shrubs."""
    u, v = _turned(rng, side)
    dunes = 16 * noise(rng, side, 55) + 2.6 * np.sin(u / 4 + 2.5 * noise(rng, side, 60))
    light = _shade(dunes, 0.16) + 0.025 * noise(rng, side, 3) + 0.06 * noise(rng, side, 80)
    ground = _paint([(204, 178, 134), (214, 188, 146)][season], light)
    shrubs = rng.uniform(0.05, 0.5)
    height, tints = _crowns(rng, u, v, 24, jitter=1.0, radius=(1.5, 3.5), density=shrubs)
    return _plant(ground, height, tints, _LEAVES * 0.9 + 18, noise(rng, side, 2))


def beach(rng: np.random.Generator, side: int, season: int) -> np.ndarray:
    """A bar of sand between two waters, with surf on both sides."""
    rows, columns = np.mgrid[:side, :side].astype(np.float32) - side / 2
    across = columns if rng.random() < 0.5 else rows
    shore = 68 + 7 * noise(rng, side, 45) + 2 * noise(rng, side, 12) - np.abs(across)
    depth = np.clip(-shore / 60, 0, 1)
    sea = _mix(_paint((88, 158, 156), 0.04 * noise(rng, side, 8)), water(rng, side, season), depth)
    dry = _paint((222, 202, 160), 0.05 * _lumps(rng, side) + 0.04 * noise(rng, side, 2))
    land = _mix(dry, _paint((172, 148, 108), 0.03 * noise(rng, side, 6)), 1 - shore / 14)
    picture = _mix(sea, land, shore / 3 + 0.5)
    for distance, width in ((-3, 2.2), (-13, 1.6), (-26, 1.2)):
        surf = np.maximum(1 - np.abs(shore - distance - 2 * noise(rng, side, 14)) / width, 0)
        picture = _mix(
            picture,
            np.array([236, 240, 238], np.float32),
            surf * (0.6 + 0.4 * noise(rng, side, 16)),
        )
    return picture


def farmland(rng: np.random.Generator, side: int, season: int) -> np.ndarray:
    """Parcels with crop rows, tracks between them."""
    crops = np.array(
        [
            [[112, 136, 74], [92, 118, 62], [136, 152, 92], [146, 118, 90], [120, 97, 74]],
            [[190, 168, 112], [92, 112, 54], [176, 150, 96], [142, 112, 82], [204, 184, 130]],
        ],
        np.float32,
    )[season]
    u, v = _turned(rng, side)
    strips = np.cumsum(rng.uniform(46, 84, 16)) - 500
    strip = np.searchsorted(strips, u)
    length = rng.uniform(110, 200)
    along = (v + rng.uniform(0, length, 17)[strip]) / length
    parcel = np.floor(along).astype(int) % 9
    kind = rng.permuted(np.tile(np.arange(5), (17, 2))[:, :9], axis=1)[strip, parcel]
    period = rng.uniform(4.2, 7.5, (17, 9))[strip, parcel]
    crosswise = (rng.random((17, 9)) < 0.25)[strip, parcel]
    rows = np.sin(2 * np.pi * np.where(crosswise, v, u) / period)
    light = 0.11 * rows + 0.08 * _lumps(rng, side) + 0.03 * noise(rng, side, 2)
    picture = _paint(crops[kind], light)
    beside = np.minimum(
        np.abs(u[..., None] - strips).min(axis=-1), length * np.abs(along - np.rint(along))
    )
    track = _paint((170, 154, 118), 0.06 * noise(rng, side, 3))
    return _mix(picture, track, 2.6 - beside)


def orchard(rng: np.random.Generator, side: int, season: int) -> np.ndarray:
    """Round crowns in rows on bare soil."""
    u, v = _turned(rng, side)
    spacing = rng.uniform(10, 17)
    light = 0.07 * _lumps(rng, side) + 0.05 * np.sin(2 * np.pi * u / spacing)
    soil = _paint([(164, 136, 98), (178, 146, 108)][season], light)
    height, tints = _crowns(
        rng, u, v, spacing, jitter=0.14, radius=(3.6, 5.2), density=rng.uniform(0.8, 1)
    )
    return _plant(soil, height, tints * 0.6, [_LEAVES, _LEAVES * 0.85][season], noise(rng, side, 2))


def forest(rng: np.random.Generator, side: int, season: int) -> np.ndarray:
    """A closed canopy, or one with clearings."""
    leaves = [_LEAVES * 0.78, np.array([[88, 92, 44], [110, 98, 48], [62, 78, 38]], np.float32)]
    u, v = _turned(rng, side)
    meadow = _paint([(104, 126, 68), (156, 146, 96)][season], 0.12 * _lumps(rng, side))
    open_ground = noise(rng, side, 45) + 0.3 * noise(rng, side, 9) - rng.uniform(0.4, 2.4)
    ground = _mix(_paint((38, 46, 28), 0.2 * noise(rng, side, 6)), meadow, 3 * open_ground)
    height, tints = _crowns(rng, u, v, 11, jitter=1.0, radius=(4.5, 9.0))
    height = height * (open_ground < 0)
    stand = 0.12 * noise(rng, side, 70)[..., None]
    return _plant(ground, height, tints, leaves[season], noise(rng, side, 2)) * (1 + stand)


def _drawn(
    rng: np.random.Generator,
    ground: np.ndarray,
    draw: Callable[[ImageDraw.ImageDraw, int], None],
    *,
    angle: float,
) -> np.ndarray:
    """Lets ``draw`` paint in doubled pixels on a larger canvas, turns it and lays it on the ground."""
    side = len(ground)
    reach = 3 * side
    canvas = Image.new("RGBA", (reach, reach), (0, 0, 0, 0))
    draw(ImageDraw.Draw(canvas), reach)
    turned = canvas.rotate(angle, Image.Resampling.BILINEAR)
    left = (reach - 2 * side) // 2
    small = turned.crop((left, left, left + 2 * side, left + 2 * side)).reduce(2)
    layer = np.asarray(small, dtype=np.float32)
    share = layer[..., 3] / 255
    colour = layer[..., :3] * (1 + 0.03 * noise(rng, side, 2)[..., None])
    return _mix(ground, colour, share)


def _box(
    pen: ImageDraw.ImageDraw, x: float, y: float, w: float, h: float, fill: tuple[int, ...]
) -> None:
    """A rectangle, in pixels of the picture."""
    pen.rectangle((2 * x, 2 * y, 2 * (x + w), 2 * (y + h)), fill=(*fill, 255))


def _house(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, x: float, y: float, w: float, h: float
) -> None:
    """A pitched or flat roof and its shadow."""
    roof = np.array(_ROOFS[rng.integers(len(_ROOFS))]) + rng.integers(-10, 10)
    _box(pen, x + 2.5, y + 2.5, w, h, (48, 46, 42))
    lit, dark = tuple((roof * 1.1).clip(0, 255).astype(int)), tuple((roof * 0.78).astype(int))
    _box(pen, x, y, w, h, lit)
    if roof[0] - roof[2] > 30:
        if w > h:
            _box(pen, x, y + h / 2, w, h / 2, dark)
        else:
            _box(pen, x + w / 2, y, w / 2, h, dark)
    else:
        _box(pen, x + w * 0.6, y + h * 0.2, 3, 3, dark)


def dense_residential(rng: np.random.Generator, side: int, season: int) -> np.ndarray:
    """Streets with house beside house, small gardens behind."""
    u, v = _turned(rng, side)
    yards = _paint([(120, 122, 82), (150, 136, 98)][season], 0.14 * noise(rng, side, 6))
    trees, built = rng.uniform(0.1, 0.6), rng.uniform(0.75, 1)
    height, tints = _crowns(rng, u, v, 14, jitter=1.0, radius=(2.5, 4.5), density=trees)
    yards = _plant(yards, height, tints, _LEAVES, noise(rng, side, 2))

    def draw(pen: ImageDraw.ImageDraw, reach: int) -> None:
        end = reach / 2
        for y in np.arange(0, end, 62):
            _box(pen, 0, y, end, 11, (112, 110, 108))
            for row, depth in ((y + 13, 17), (y + 43, 17)):
                x = rng.uniform(0, 8)
                while x < end:
                    width = rng.uniform(12, 19)
                    if rng.random() < built:
                        _house(pen, rng, x, row + rng.uniform(-1.5, 1.5), width, depth)
                    x += width + rng.uniform(1.5, 5)
        for x in np.arange(rng.uniform(0, 60), end, 124):
            _box(pen, x, 0, 10, end, (118, 116, 112))

    return _drawn(rng, yards, draw, angle=rng.uniform(0, 90))


def sparse_residential(rng: np.random.Generator, side: int, season: int) -> np.ndarray:
    """Detached houses on large plots, with lawns, trees and some pools."""
    u, v = _turned(rng, side)
    lawn = _paint([(112, 136, 72), (152, 146, 92)][season], 0.10 * _lumps(rng, side))
    trees, empty = rng.uniform(0.15, 0.9), rng.uniform(0, 0.4)
    height, tints = _crowns(rng, u, v, 19, jitter=1.0, radius=(3.5, 6.5), density=trees)
    lawn = _plant(lawn, height, tints, _LEAVES, noise(rng, side, 2))

    def draw(pen: ImageDraw.ImageDraw, reach: int) -> None:
        end = reach / 2
        for y in np.arange(10, end, 116):
            _box(pen, 0, y, end, 8, (140, 136, 128))
            for row, drive in ((y + 22, y + 8), (y + 70, y + 86)):
                for x in np.arange(rng.uniform(4, 20), end, 62):
                    if rng.random() < empty:
                        continue
                    left, top = x + rng.uniform(0, 14), row + rng.uniform(-4, 4)
                    _box(pen, left + 4, min(drive, top), 4, abs(drive - top) + 18, (176, 168, 154))
                    _house(pen, rng, left, top, rng.uniform(17, 25), rng.uniform(13, 18))
                    if rng.random() < 0.45:
                        _box(pen, left + 30, top + 3, 9, 5.5, (84, 178, 196))

    return _drawn(rng, lawn, draw, angle=rng.uniform(0, 90))


def parking(rng: np.random.Generator, side: int, season: int) -> np.ndarray:
    """Marked stalls, more or less full, some trees."""
    asphalt = _paint((104, 103, 102), 0.06 * _lumps(rng, side))
    angle = rng.uniform(0, 90)
    full = rng.uniform(0.2, 0.95) * (1, 0.8)[season]
    parked = np.random.default_rng(rng.integers(1 << 32) + season)

    def draw(pen: ImageDraw.ImageDraw, reach: int) -> None:
        end = reach / 2
        for y in np.arange(0, end, 31):
            for x in np.arange(0, end, 5):
                if int(x) % 110 >= 100:
                    continue
                _box(pen, x, y, 0.5, 19, (196, 196, 190))
                for top in (y + 0.8, y + 10.2):
                    if parked.random() < full:
                        colour = _CARS[parked.integers(len(_CARS))]
                        shift = parked.uniform(-0.5, 0.5)
                        _box(pen, x + 1.7, top + shift + 0.7, 2.8, 7.6, (58, 58, 58))
                        _box(pen, x + 1.2, top + shift, 2.6, 7.4, colour)
                        _box(pen, x + 1.5, top + shift + 2, 2.0, 1.6, (44, 50, 58))
            _box(pen, 0, y + 9.6, end, 0.5, (196, 196, 190))

    picture = _drawn(rng, asphalt, draw, angle=angle)
    u, v = _turned(rng, side)
    height, tints = _crowns(
        rng, u, v, 46, jitter=0.5, radius=(3.5, 5.0), density=rng.uniform(0.1, 0.9)
    )
    return _plant(picture, height, tints, _LEAVES, noise(rng, side, 2))


def runway(rng: np.random.Generator, side: int, season: int) -> np.ndarray:
    """A runway with its markings, a taxiway on either side, mown grass between."""
    grass = _paint([(118, 134, 78), (164, 152, 104)][season], 0.07 * _lumps(rng, side))
    upright = rng.random() < 0.5

    def draw(pen: ImageDraw.ImageDraw, reach: int) -> None:
        end, middle = reach / 2, reach / 4
        for y in np.arange(middle - 190, end, 95):
            _box(pen, middle - 95, y, 190, 15, (124, 122, 118))
        for taxiway in (middle - 96, middle + 80):
            _box(pen, taxiway, 0, 17, end, (124, 122, 118))
            _box(pen, taxiway + 8, 0, 0.8, end, (212, 178, 60))
        _box(pen, middle - 37, 0, 74, end, (88, 87, 88))
        for edge in (middle - 34, middle + 32.5):
            _box(pen, edge, 0, 1.5, end, (226, 226, 222))
        for y in np.arange(rng.uniform(0, 60), end, 60):
            _box(pen, middle - 1, y, 2, 34, (226, 226, 222))
        for x in np.arange(-28, 28, 7):
            _box(pen, middle + x, middle - 60, 3.5, 36, (222, 222, 218))
        for y in np.arange(0, end, 23):
            _box(pen, middle + rng.uniform(-14, 12), y, 1.2, 60, (70, 69, 70))

    return _drawn(rng, grass, draw, angle=0 if upright else 90)


PAINTERS: dict[str, Painter] = {
    "water": water,
    "beach": beach,
    "sand": sand,
    "farmland": farmland,
    "orchard": orchard,
    "forest": forest,
    "dense residential": dense_residential,
    "sparse residential": sparse_residential,
    "parking": parking,
    "runway": runway,
}

"""A small synthetic archive, georeferenced near Valencia.

Each scene is a mosaic of nine regions of land cover: farmland and woods in the west, houses in the
middle, the coast in the east.  Their borders lie at random, so that a chip has one land cover or parts
of several.  Each location has scenes of two dates that differ in season, light and parked cars; at every
third location a field is built over by the second date.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from PIL import Image, ImageFilter
from rasterio.transform import from_origin

from dcsh_pg.errors import OutputError
from dcsh_pg.imagery import grid
from dcsh_pg.imagery.georeference.affine import AffineGeoreference
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.progress import SILENT, Progress
from dcsh_pg.synthetic.landcover import PAINTERS, noise

CRS = rasterio.CRS.from_epsg(32630)
RESOLUTION = 0.6
"""Metres per pixel."""

REGION = 256
SIDE = 3 * REGION
"""Pixels: a scene is three regions wide and high."""

SHIFT = 72
"""Pixels by which a border between regions may lie off its place in a regular grid."""

DATES = (
    datetime(2019, 4, 18, 10, 56, tzinfo=timezone.utc),
    datetime(2023, 9, 5, 10, 52, tzinfo=timezone.utc),
)

_MARGIN = 32
_WEST, _NORTH, _SPACING = 724_200.0, 4_372_800.0, 1_200.0
_INLAND = ["farmland", "orchard", "forest"]
_BUILT = ["dense residential", "sparse residential", "parking", "runway"]
_COAST = ["sand", "beach", "water"]
_KINDS = list(PAINTERS)
_ROADLESS = [_KINDS.index(kind) for kind in ("water", "beach")]
_ROAD = np.array([150, 144, 134], np.float32)


@dataclass(frozen=True)
class SyntheticArchive:
    """The files of :func:`make_archive`.

    Attributes:
        scenes: the GeoTIFF files.
        labels: a GeoJSON FeatureCollection, one feature a chip, with the properties ``file``,
            ``col_off``, ``row_off``, ``width``, ``height``, ``acquired``, ``class`` and ``share``,
            the part of the chip that is of that class.
    """

    scenes: list[Path]
    labels: Path


def make_archive(
    folder: Path,
    *,
    seed: int = 0,
    locations: int = 12,
    chip_size: int = 128,
    progress: Progress = SILENT,
) -> SyntheticArchive:
    """Makes scenes of ``locations`` at two dates: GeoTIFF, uint8 RGB, 768 x 768, 0.6 m, EPSG:32630.

    The same arguments give the same pixels; files of an earlier run are overwritten.

    Args:
        folder: created if needed.
        seed: of all shapes and colours.
        locations: how many places, with two scenes each.
        chip_size: of the chips that the labels are for, no overlap, edge policy 'shift'.

    Raises:
        OutputError: the folder cannot be written.
    """
    progress.start("making scenes", total=2 * locations)
    scenes: list[Path] = []
    features: list[dict[str, Any]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for location in range(locations):
            for season, date in enumerate(DATES):
                kinds = _plan(seed, location, season)
                pixels, cover = _paint(seed, location, season, kinds)
                path = folder / f"valencia_{location + 1:02d}_{date:%Y%m%d}.tif"
                transform = _transform(location)
                _write(path, pixels, transform, date)
                place = AffineGeoreference(CRS.to_wkt(), transform, uri=str(path))
                features += _labels(path.name, date, cover, place, Reading(chip_size=chip_size))
                scenes.append(path)
                progress.advance()
        labels = folder / "labels.geojson"
        labels.write_text(json.dumps({"type": "FeatureCollection", "features": features}) + "\n")
    except (OSError, rasterio.errors.RasterioError) as error:
        raise OutputError(
            f"cannot write to {folder}: {error}", hint="name a folder that you may write to"
        ) from None
    return SyntheticArchive(scenes, labels)


def _plan(seed: int, location: int, season: int) -> list[str]:
    """The land cover of the nine regions, row by row."""
    rng = np.random.default_rng([seed, location])
    columns = [rng.permutation(_INLAND), rng.permutation(_BUILT)[:3], rng.permutation(_COAST)]
    kinds = [str(kind) for kind in np.stack(columns, axis=1).ravel()]
    if season == 1 and location % 3 == 0:
        kinds[kinds.index("farmland")] = ("dense residential", "parking")[location // 3 % 2]
    return kinds


def _paint(
    seed: int, location: int, season: int, kinds: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 (SIDE, SIDE, 3) and the land cover of each, an index of PAINTERS."""
    rng = np.random.default_rng([seed, location, 99])
    wobble = [12 * noise(rng, SIDE, 110) + 1.5 * noise(rng, SIDE, 18) for _ in range(2)]
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32) + np.clip(
        wobble, -_MARGIN + 1, _MARGIN - 1
    )
    borders = np.array([[1], [2]]) * REGION + rng.integers(-SHIFT, SHIFT, (2, 2), endpoint=True)
    row, column = (np.searchsorted(borders[:, i], at) for i, at in enumerate((rows, columns)))
    region = 3 * row + column
    cover = np.array([_KINDS.index(kind) for kind in kinds])[region]
    canvas = np.zeros((SIDE, SIDE, 3), np.float32)
    for index, kind in enumerate(kinds):
        shape = np.random.default_rng([seed, location, index])
        tint = shape.uniform(0.86, 1.12) * shape.uniform(0.96, 1.04, 3).astype(np.float32)
        side = REGION + 2 * (SHIFT + _MARGIN)
        painted = PAINTERS[kind](shape, side, season) * tint
        here = np.nonzero(region == index)
        middle = [(at.min() + at.max()) // 2 - side // 2 for at in here]
        canvas[here] = painted[here[0] - middle[0], here[1] - middle[1]]
    beside = np.minimum.reduce(
        [np.abs(at - line) for i, at in enumerate((rows, columns)) for line in borders[:, i]]
    )
    road = (np.clip(4.5 - beside, 0, 1) * ~np.isin(cover, _ROADLESS))[..., None]
    picture = canvas * (1 - road) + _ROAD * road
    return _photograph(rng, picture, season), cover.astype(np.uint8)


def _photograph(rng: np.random.Generator, picture: np.ndarray, season: int) -> np.ndarray:
    """Light, haze, the blur of the lens and the noise of the sensor."""
    gain, haze = [(0.94, (10, 13, 18)), (1.0, (13, 13, 12))][season]
    lit = np.clip(picture * np.float32(gain) + np.array(haze, np.float32), 0, 255).astype(np.uint8)
    sharp = np.asarray(Image.fromarray(lit).filter(ImageFilter.GaussianBlur(0.55)))
    grain = np.random.default_rng(rng.integers(1 << 32) + season)
    noisy = sharp + 2 * grain.standard_normal(sharp.shape, dtype=np.float32)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _transform(location: int) -> rasterio.Affine:
    row, column = divmod(location, 4)
    return from_origin(_WEST + column * _SPACING, _NORTH - row * _SPACING, RESOLUTION, RESOLUTION)


def _write(path: Path, pixels: np.ndarray, transform: rasterio.Affine, date: datetime) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=3, dtype="uint8",
        crs=CRS, transform=transform, tiled=True, blockxsize=256, blockysize=256,
        compress="jpeg", jpeg_quality=90, photometric="ycbcr",
    ) as target:  # fmt: skip
        target.write(np.moveaxis(pixels, -1, 0))
        target.update_tags(
            TIFFTAG_DATETIME=f"{date:%Y:%m:%d %H:%M:%S}",
            TIFFTAG_IMAGEDESCRIPTION="synthetic land cover made by dcsh-pg",
        )


def _labels(
    name: str, date: datetime, cover: np.ndarray, place: AffineGeoreference, reading: Reading
) -> list[dict[str, Any]]:
    """A GeoJSON feature for each chip of a scene, with its dominant land cover."""
    windows = grid.windows(SIDE, SIDE, reading)
    features = []
    for window, footprint in zip(windows.tolist(), place.footprints(windows[:]), strict=True):
        left, top, width, height = window
        part = cover[top : top + height, left : left + width]
        shares = np.bincount(part.ravel(), minlength=len(_KINDS)) / part.size
        properties: dict[str, Any] = dict(
            zip(("col_off", "row_off", "width", "height"), window, strict=True)
        )
        properties |= {
            "file": name,
            "acquired": date.isoformat(),
            "class": _KINDS[shares.argmax()],
            "share": round(float(shares.max()), 3),
        }
        geometry = shapely.geometry.mapping(footprint)
        features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    return features

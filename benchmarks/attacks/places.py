"""Random rasters anywhere on Earth: are footprints and pixels of their chips right?

Each call writes a raster of random CRS, transform or control points, size, type, bands, colour
interpretation, scale and offset, usually at the antimeridian or a pole, and reads it as an ingest
does.  It checks

- footprints: valid, within -180..180 and -90..90, of the area that GeographicLib gives for the
  window's edge, and containing the pixels of their window;
- pixels: equal to the array that was written;
- ``dcsh.chip_at`` at random pixels, with ``--dsn`` of a scratch database, with PostGIS or without.

    python benchmarks/attacks/places.py --minutes 60 --dsn postgresql:///attack
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

import numpy as np
import rasterio
import shapely
from pyproj import CRS, Geod, Transformer
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from support.attack import Attack, run

from dcsh_pg.card import ModelCard
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connection import open_connection
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import find_scenes

GEOD = Geod(ellps="WGS84")
UTM = [f"EPSG:32{half}{zone:02d}" for half in (6, 7) for zone in (1, 1, 31, 60, 60)]
POLAR = {"EPSG:3413": 1, "EPSG:3573": 1, "EPSG:3031": -1, "EPSG:32661": 1, "EPSG:32761": -1}
WORLD = ["EPSG:4326", "EPSG:4326", "EPSG:4269", "EPSG:3857", "EPSG:3832", "EPSG:6933", "EPSG:8857"]
COLOURS = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined]
CARD = ModelCard(
    name="attack", method="itq", bits=16, bands=3, chip_size=32, input_size=32,
    mean=(0.5,) * 3, std=(0.25,) * 3, encoder="none",
)  # fmt: skip


class Ground:
    """Where a raster was put: pixel positions (..., 2) -> lon, lat, however they are stored."""

    def __init__(self, rng: random.Random, size: tuple[int, int]):
        self.code = rng.choice([*UTM, *POLAR, *POLAR, *WORLD])
        crs = CRS.from_user_input(self.code)
        lon = rng.choice([180, -180, 180 + rng.uniform(-0.3, 0.3), rng.uniform(-180, 180)])
        lat = rng.uniform(-80, 80)
        if self.code in POLAR:
            lat = (
                rng.choice([90, 90, rng.uniform(89.9, 90), rng.uniform(65, 90)]) * POLAR[self.code]
            )
        elif self.code in UTM:
            central = int(self.code[-2:]) * 6 - 183
            lon = rng.choice([180, -180, central]) + rng.uniform(-0.3, 0.3)
        self.to_lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        to_crs = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
        x, y = to_crs.transform((lon + 180) % 360 - 180, lat)
        if self.code in ("EPSG:4326", "EPSG:4269"):
            x += rng.choice([0, 360])
            self.pixel = 10 ** rng.uniform(-6, -1.5)
        else:
            self.pixel = 10 ** rng.uniform(-1, 3)
        start = [side * rng.choice([0, 0.5, 1, rng.random()]) for side in size]
        self.transform = (
            Affine.translation(x, y)
            @ Affine.rotation(rng.choice([0, 0, 90, 180, rng.uniform(0, 360)]))
            @ Affine.shear(rng.choice([0, rng.uniform(-20, 20)]))
            @ Affine.scale(self.pixel, self.pixel * rng.choice([-1, -1, 1]))
            @ Affine.translation(-start[0], -start[1])
        )
        self.bend = 0.0
        if self.code not in WORLD and rng.random() < 0.2:
            self.bend = rng.uniform(-1, 1) * 0.2 / max(size)

    def xy(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        column, row = np.moveaxis(np.asarray(pixels, dtype=np.float64), -1, 0)
        a, b, c, d, e, f = self.transform[:6]
        column = column + self.bend * row * row
        return a * column + b * row + c, d * column + e * row + f

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        lon, lat = self.to_lonlat.transform(*self.xy(pixels))
        return np.stack([lon, np.clip(lat, -90, 90)], axis=-1)

    def profile(self, width: int, height: int) -> dict:
        if not self.bend:
            return {"crs": self.code, "transform": self.transform}
        grid = np.meshgrid(np.linspace(0, width, 15), np.linspace(0, height, 15))
        at = np.stack(grid, axis=-1).reshape(-1, 2)
        points = [
            GroundControlPoint(row, column, x, y)
            for (column, row), x, y in zip(at, *self.xy(at), strict=True)
        ]
        return {"crs": self.code, "gcps": points}


def once(attack: Attack, rng: random.Random) -> None:
    numbers = np.random.default_rng(rng.getrandbits(32))
    width, height = rng.randint(20, 200), rng.randint(20, 200)
    ground = Ground(rng, (width, height))
    corners = ground(np.array([(0, 0), (width, 0), (0, height), (width, height)]))
    if not np.isfinite(corners).all():
        return
    dtype = np.dtype(rng.choice(["uint8", "uint8", "uint16", "int16", "float32"]))
    colours = COLOURS[: rng.choice([3, 3, 4])]
    rng.shuffle(colours)
    data = numbers.integers(0, 256 if dtype == np.uint8 else 4000, (len(colours), height, width))
    data = data.astype(dtype)
    linear = [(1.0, 0.0)] * len(colours)
    if rng.random() < 0.5:
        linear = [(rng.choice([1, 0.5, 1e-4, -1]), rng.choice([0, -1000, 0.5])) for _ in colours]
    fixed = dtype != np.uint8 or rng.random() < 0.5
    reading = Reading(
        chip_size=rng.choice([8, 16, 32, 64]),
        edge=rng.choice(["shift", "pad", "drop"]),
        scale=tuple(sorted(rng.sample([-500.0, 0.0, 0.4, 255.0, 3000.0], 2))) if fixed else None,
        raw_values=rng.random() < 0.3,
        min_valid=0.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.tif")
        with rasterio.open(
            path, "w", driver="GTiff", count=len(colours), width=width, height=height,
            dtype=dtype, photometric="MINISBLACK", **ground.profile(width, height),
        ) as target:  # fmt: skip
            target.write(data)
            target.colorinterp = colours
            target.scales, target.offsets = zip(*linear, strict=True)
        (scene,) = find_scenes([str(path)], reading=reading, bands=3)
        with scene:
            record = scene.describe()
            chips = scene.read(record.windows)
    name = f"{'control points' if ground.bend else 'affine'}, {ground.code}"
    values = data if reading.raw_values else data * np.array(linear)[:, :1, None]
    if not reading.raw_values:
        values = values + np.array(linear)[:, 1:, None]
    order = [colours.index(colour) for colour in COLOURS[:3]]
    unchanged = reading.raw_values or all(linear[band] == (1, 0) for band in order)
    if fixed or (dtype == np.uint8 and unchanged):
        check_pixels(attack, chips, values[order], reading.scale)
    check_footprints(attack, name, ground, record, chips)
    if attack.options.dsn:
        check_chip_at(attack, rng, ground, record, chips)


def check_pixels(attack: Attack, chips, values: np.ndarray, scale) -> None:
    low, high = scale or (0.0, 255.0)
    expected = np.clip((values - low) / (high - low) * 255, 0, 255)
    for window, pixels in zip(chips.windows, chips.pixels, strict=True):
        left, top, size, _ = window
        part = expected[:, top : top + size, left : left + size]
        got = np.moveaxis(pixels, -1, 0)[:, : part.shape[1], : part.shape[2]]
        attack.tried("pixels of a chip")
        if np.abs(got - part).max(initial=0) > 0.5 + 1e-6:
            attack.fault("pixels of a chip", f"off by {np.abs(got - part).max():.1f}, {window}")


def check_footprints(attack: Attack, name: str, ground: Ground, record, chips) -> None:
    for window, footprint in zip(chips.windows, chips.footprints, strict=True):
        start, size = window[:2], int(window[2])
        if ground.bend and (start + size > (record.width, record.height)).any():
            continue  # nothing is promised beyond the control points
        along = np.linspace(0, size, 129)[:-1]
        none, full = np.zeros(128), np.full(128, size)
        sides = [(none, along), (along, full), (full, size - along), (size - along, none)]
        edge = ground(start + np.concatenate([np.stack(side, axis=-1) for side in sides]))
        # Control points may be fitted by an affine transform up to a pixel off.
        margin = 2.5 if ground.bend else 1.5
        inside = np.stack(np.meshgrid(*[np.linspace(margin, size - margin, 5)] * 2), -1)
        inside = inside.reshape(-1, 2)
        points = ground(start + inside)
        lon = (points[:, 0] + 180) % 360 - 180
        west, south, east, north = footprint.bounds
        attack.tried(f"footprint: {name}")
        share = area(footprint) / abs(GEOD.polygon_area_perimeter(*edge.T)[0])
        holds = shapely.intersects_xy(footprint, lon, points[:, 1])
        is_cut = (west == -180) != (east == 180)
        same_side = (np.sign(lon) == np.sign(footprint.centroid.x)) & (np.abs(lon) < 180 - 1e-9)
        slack = 2 / size
        if not (footprint.is_valid and west >= -180 and east <= 180 and max(-south, north) <= 90):
            attack.fault(f"footprint: {name}", f"{window}: invalid or out of range")
        elif not (0.5 - slack if is_cut else 1 - slack) < share < 1 + slack:
            attack.fault(f"footprint: {name}", f"{window}: {share:.4g} times the window's area")
        elif not (holds[same_side] if is_cut else holds).all():
            attack.fault(f"footprint: {name}", f"{window}: does not hold its own pixels")


def area(polygon: shapely.Polygon) -> float:
    edges = np.array(polygon.exterior.coords)
    share = np.linspace(0, 1, 64, endpoint=False)[:, None, None]
    dense = np.moveaxis(edges[:-1] + share * np.diff(edges, axis=0), 0, 1).reshape(-1, 2)
    return abs(GEOD.polygon_area_perimeter(*dense.T)[0])


def check_chip_at(attack: Attack, rng: random.Random, ground: Ground, record, chips) -> None:
    if not attack.counts["chip_at"]:
        migrate.upgrade(attack.options.dsn)
    with open_connection(attack.options.dsn) as conn:
        name = f"places_{attack.call}"
        sha256 = registry.store_model(conn, CARD, b"no model")
        loader = Loader(conn, registry.create_archive(conn, name, sha256, {}))
        codes = np.zeros((len(chips), 2), np.uint8)
        valid = np.ones(len(chips), np.float32)
        loader.add(record, codes, chips.windows, chips.footprints, valid, 0)
        loader.flush()
        for _ in range(10):
            pixel = np.array([rng.uniform(0, record.width), rng.uniform(0, record.height)])
            lon, lat = ground(pixel)
            lon = (lon + 180) % 360 - 180
            # Neighbours share an edge, which may be half a pixel off the true one.
            offset = pixel - chips.windows[:, :2]
            near = ((offset > -1.5) & (offset < chips.windows[:, 2:] + 1.5)).all(axis=1)
            holds = shapely.intersects_xy(chips.footprints, lon, lat)
            sql = "SELECT dcsh.chip_at(%s, %s, %s)"
            [found] = conn.execute(sql, [name, float(lon), float(lat)]).fetchone()
            attack.tried("chip_at")
            if (found is None) == holds.any() or (found and not near[found - 1]):
                attack.fault("chip_at", f"{lon}, {lat}, pixel {pixel}: chip {found}")
        registry.drop_archive(conn, name)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dsn", help="also ask dcsh.chip_at, in this database of its own")


if __name__ == "__main__":
    run(__doc__, once, add_options=add_options)

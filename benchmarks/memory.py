"""Peak memory of an ingest, for folders that are hard on memory; fails above the documented limit.

    python benchmarks/memory.py
    python benchmarks/memory.py --only photographs strip

Each case is ingested by a separate process, with default options and a model with random weights, on
the CPU.  The peak is that process's largest resident set as Linux counts it (VmHWM), without
PostgreSQL.  Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from dcsh_pg.database.archives import registry
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound

BOUND = 2 << 30
"""Bytes; docs/operations.md states it."""

ARCHIVE = "memory_benchmark"
SMOOTH = np.linspace(0, 255, 1 << 16).astype(np.uint8)

CHILD = f"""
import json, re, sys
from dcsh_pg import Archive
from dcsh_pg.imagery import SceneOptions
folder, model, dsn, chip_size = json.loads(sys.argv[1])
archive = Archive.create({ARCHIVE!r}, model, sources=[folder], chip_size=chip_size, dsn=dsn, device="cpu")
report = archive.ingest([folder], options=SceneOptions(georeference=False))
peak = re.search("VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(json.dumps([report.chips, report.failed, report.seconds, int(peak[1]) * 1024]))
"""


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Compressible pixels, uint8 (height, width, 3)."""
    rows = SMOOTH[np.arange(height) * 37 % len(SMOOTH)][:, None]
    columns = SMOOTH[(np.arange(width) * 53 + 999 * seed) % len(SMOOTH)][None]
    return np.stack([rows ^ columns, rows | columns, rows & columns], -1)


def photographs(folder: Path) -> None:
    """60 JPEGs of 12 MP"""
    for n in range(60):
        Image.fromarray(image(3000, 4000, n)).save(folder / f"{n}.jpg", quality=80)


def sizes(folder: Path) -> None:
    """300 PNGs of 300 sizes, 0.5 to 3 MP"""
    random = np.random.default_rng(0)
    for n in range(300):
        height, width = random.integers(700, 1750, 2)
        Image.fromarray(image(height, width, n)).save(folder / f"{n}.png", compress_level=1)


def small(folder: Path) -> None:
    """5,000 PNGs of 64 x 64"""
    for n in range(5000):
        Image.fromarray(image(64, 64, n)).save(folder / f"{n}.png")


def large(folder: Path) -> None:
    """a PNG of 170 MP"""
    Image.fromarray(image(13000, 13080)).save(folder / "large.png", compress_level=1)


def strip(folder: Path) -> None:
    """a TIFF of 150 MP in a single strip"""
    raster(folder / "strip.tif", image(12247, 12247), blockysize=12247, interleave="pixel")


def strips(folder: Path) -> None:
    """12 TIFFs of 25 MP in a single strip"""
    for n in range(12):
        raster(folder / f"{n}.tif", image(5000, 5000, n), blockysize=5000, interleave="pixel")


def wide(folder: Path) -> None:
    """a striped TIFF of 60,000 x 4,000, 16 bits"""
    pixels = image(4000, 60000).astype(np.uint16) * 11
    raster(folder / "wide.tif", pixels, blockysize=1, interleave="pixel")


def raster(file: Path, pixels: np.ndarray, **options) -> None:
    height, width, count = pixels.shape
    with rasterio.open(
        file, "w", "GTiff", width, height, count, "EPSG:32630", from_origin(3e5, 4e6, 1, 1),
        pixels.dtype, compress="deflate", zlevel=1, **options,
    ) as out:  # fmt: skip
        out.write(np.moveaxis(pixels, -1, 0))


CASES: dict[str, tuple[Callable[[Path], None], int | None]] = {
    "photographs": (photographs, None),
    "chips of photographs": (photographs, 1000),
    "sizes": (sizes, None),
    "small": (small, None),
    "large": (large, None),
    "chips of large": (large, 256),
    "strip": (strip, 256),
    "chip of a strip": (strip, 13000),
    "strips": (strips, 256),
    "wide": (wide, 256),
}
"""Name -> function that makes the folder, and the chip size; None for whole pictures."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--dsn", help="default: the embedded server")
    options = parser.parse_args()
    conn = connect(options.dsn)
    exceeded = []
    print("| folder | chip size | chips | s | peak, MiB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        write_model(model)
        for name in options.only:
            make, chip_size = CASES[name]
            source = Path(folder) / make.__name__
            if not source.exists():
                source.mkdir()
                make(source)
            chips, failed, seconds, peak = ingest(source, model, options.dsn, chip_size)
            forget(conn)
            what = f"{make.__doc__}{f' ({failed} failed)' if failed else ''}"
            print(
                f"| {what} | {chip_size or 'whole'} | {chips:,} | {seconds:.0f} "
                f"| {peak / 2**20:,.0f} |",
                flush=True,
            )
            if peak > BOUND or failed:
                exceeded.append(name)
    if exceeded:
        sys.exit(f"failed, or above {BOUND / 2**20:,.0f} MiB: {', '.join(exceeded)}")


def write_model(file: Path) -> None:
    import torch

    from dcsh_pg.export import export
    from dcsh_pg.learning.encoders import Encoder
    from dcsh_pg.learning.heads import MLPHead
    from dcsh_pg.learning.model.hash_function import HashFunction

    torch.manual_seed(0)
    encoder = Encoder("small")
    hash_function = HashFunction(encoder, MLPHead(encoder.dim, 64), method="random").eval()
    export(hash_function, file, name="small", chip_size=256)


def ingest(folder: Path, model: Path, dsn: str | None, chip_size: int | None) -> list:
    argument = json.dumps([str(folder), str(model), dsn, chip_size])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, argument], stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        return [0, "all", 0.0, 0]
    return json.loads(done.stdout)


def forget(conn) -> None:
    with contextlib.suppress(NotFound):
        registry.drop_archive(conn, ARCHIVE)


if __name__ == "__main__":
    main()

"""Chips per second: the whole ingest, and its parts alone.

    python benchmarks/ingest.py --encoder resnet18

Makes scenes, writes a model with random weights and alternates (a) the session on batches in memory,
(b) GDAL decoding the files, as rasterio reads them whole, (c) reading alone: files to chips, with
hashes of the files and footprints, and (d) ``Archive.ingest`` from files to committed rows.  All use
every core, so (a) and (c) one after the other are the most that (d) can reach; the last column is its
share of that.  Prints a Markdown table of medians, with the range over the repeats of the ratios,
which are computed per round.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
import torch

from dcsh_pg.archive import Archive
from dcsh_pg.database.archives import registry
from dcsh_pg.export import export
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery import Reading, Scene, find_scenes
from dcsh_pg.ingest import Pipeline
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.plugins import ENCODERS
from dcsh_pg.synthetic.archive import make_archive

CHIP_SIZE = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--encoder", choices=ENCODERS.names(), nargs="+", default=["small", "resnet18"]
    )
    parser.add_argument("--locations", type=int, default=12, help="scenes are twice as many")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=4, help="that read ahead")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dsn", help="default: the embedded server")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        scenes = Path(folder) / "scenes"
        make_archive(scenes, locations=options.locations)
        batches = read_all(scenes, options.batch)
        print(
            "| encoder | provider | session, chips/s | decoding | reading | ingest "
            "| ingest / session | ingest / (session and reading) |"
        )
        print(f"| --- | --- |{' ---: |' * 6}")
        for encoder in options.encoder:
            model = Path(folder) / f"{encoder}.onnx"
            write_model(encoder, model)
            rates, provider = measure(model, scenes, batches, options)
            session, _, reading, ingest = rates.T
            attainable = 1 / (1 / session + 1 / reading)
            medians = " | ".join(f"{statistics.median(rate):.0f}" for rate in rates.T)
            print(
                f"| {encoder} | {provider} | {medians} | {cell(ingest / session)} "
                f"| {cell(ingest / attainable)} |",
                flush=True,
            )


def read_all(scenes: Path, size: int) -> list[np.ndarray]:
    """All chips in memory, in batches of ``size``."""
    reading = Reading(chip_size=CHIP_SIZE)
    chips = []
    for scene in find_scenes([str(scenes)], reading=reading, bands=3):
        with scene:
            chips.append(scene.read(scene.describe().windows).pixels)
    pixels = np.concatenate(chips)
    return [pixels[start : start + size] for start in range(0, len(pixels), size)]


def write_model(encoder: str, file: Path) -> None:
    torch.manual_seed(0)
    network = Encoder(encoder)
    hash_function = HashFunction(network, MLPHead(network.dim, 64), method="random").eval()
    export(hash_function, file, name=encoder, chip_size=CHIP_SIZE)


def measure(
    model: Path, scenes: Path, batches: list[np.ndarray], options: argparse.Namespace
) -> tuple[np.ndarray, str]:
    """Chips per second (repeats, 4) of session, decoding, reading and ingest, and the provider.

    The first round of each warms up.
    """
    hasher = Hasher(model)
    chips = sum(map(len, batches))

    def hash_batches() -> None:
        for batch in batches:
            hasher.hash(batch)

    rates = [
        [
            chips / seconds(hash_batches),
            chips / seconds(lambda: decode(scenes, options.threads)),
            chips / seconds(lambda: read(scenes, options.threads)),
            ingest(model, scenes, batches[0], options),
        ]
        for _ in range(options.repeats + 1)
    ]
    return np.array(rates[1:]), hasher.provider


def decode(scenes: Path, threads: int) -> None:
    """Reads each file whole."""

    def whole(file: Path) -> None:
        with rasterio.open(file) as dataset:
            dataset.read()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(whole, sorted(scenes.rglob("*.tif"))))


def read(scenes: Path, threads: int) -> None:
    """Describes each scene and reads its chips, as ingest does."""

    def chips(scene: Scene) -> None:
        with scene:
            scene.read(scene.describe().windows)

    found = find_scenes([str(scenes)], reading=Reading(chip_size=CHIP_SIZE), bands=3)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(chips, found))


def ingest(model: Path, scenes: Path, batch: np.ndarray, options: argparse.Namespace) -> float:
    """Chips per second."""
    archive = Archive.create("ingest_benchmark", model, dsn=options.dsn)
    archive.hasher.hash(batch)
    report = archive.ingest([str(scenes)], pipeline=Pipeline(options.batch, options.threads))
    registry.drop_archive(archive.connection, "ingest_benchmark")
    archive.connection.close()
    return report.chips / report.seconds


def seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def cell(ratios: np.ndarray) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
